"""Where two models part: what is looked at, and what lies between."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models.changed import find_changed_tensors, made_inside
from bnfold.verifier.models.graph import Structure, same_parameter
from bnfold.verifier.models.load import Model
from tests.networks import Network
from tests.verifier.small_models import FLOAT, model, model_proto, node


def structures(a: onnx.ModelProto, b: onnx.ModelProto):
    return (Structure(Model(role, proto)) for role, proto in (("a", a), ("b", b)))


def chain(seed=0):
    """Conv, BatchNorm, Relu, Conv, and a Conv that nothing folds into."""
    net = Network(seed=seed)
    net.node("Conv", ["x", net.weight("w1", 4, 3, 3, 3)], "c1")
    net.batch_norm("c1", "n1", 4)
    net.node("Relu", ["n1"], "r1")
    net.node("Conv", ["r1", net.weight("w2", 4, 4, 1, 1)], "c2")
    net.node("Relu", ["c2"], "r2")
    net.batch_norm("r2", "n2", 4)
    net.node("Conv", ["n2", net.weight("w3", 5, 4, 1, 1)], "y")
    return net.model({"x": [2, 3, 6, 6]}, ["y"])


def test_a_fold_is_one_site_and_the_rest_is_none():
    original = chain()
    ours, theirs = structures(original, bnfold.fold(original, verify=None).model)
    upstream, downstream = find_changed_tensors(ours, theirs)
    assert (upstream.name, upstream.boundary) == ("n1", ("x",))
    assert [ours.nodes[index].op_type for index in upstream.original] == ["Conv", "BatchNormalization"]
    assert [theirs.nodes[index].op_type for index in upstream.new] == ["Conv"]
    assert (downstream.name, downstream.boundary) == ("y", ("r2",))
    assert made_inside(downstream, ours, theirs) == {"n2", "y"}


def test_a_model_and_itself_part_nowhere():
    assert find_changed_tensors(*structures(chain(), chain())) == []


def test_other_weights_make_a_site_of_every_reader():
    assert [site.name for site in find_changed_tensors(*structures(chain(0), chain(1)))] == [
        "c1",
        "n1",
        "c2",
        "n2",
        "y",
    ]


def test_a_weight_under_another_name_is_the_same_weight():
    renamed = chain()
    for name in ("w2",):
        next(t for t in renamed.graph.initializer if t.name == name).name = "copy"
        next(n for n in renamed.graph.node if name in n.input).input[1] = "copy"
    assert find_changed_tensors(*structures(chain(), renamed)) == []


def test_both_parts_begin_at_the_same_tensors():
    # The second model computes c from x, the first from b: both are traced back to x.
    ports = {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [2, 3])}
    a = model([node("Neg", "x", "b"), node("Neg", "b", "c"), node("Relu", "c", "y")], *ports)
    other = [node("Neg", "x", "b"), node("Identity", "x", "c"), node("Add", "b c", "z"), node("Relu", "c", "y")]
    b = model(other, *ports)
    (site,) = find_changed_tensors(Structure(Model.read("a", a)), Structure(Model.read("b", b)))
    assert (site.name, site.boundary, len(site.original), len(site.new)) == ("c", ("x",), 2, 1)
    assert check(a, b).passed


def test_a_body_and_a_capture_belong_to_their_node():
    def conditional(factor):
        inner = onnx.helper.make_graph(
            [node("Mul", "h k", "o")], "then", [], [onnx.helper.make_tensor_value_info("o", FLOAT, [2, 3])],
            [onnx.numpy_helper.from_array(np.float32(factor), "k")],
        )  # fmt: skip
        other = onnx.helper.make_graph(
            [node("Identity", "h", "p")], "else", [], [onnx.helper.make_tensor_value_info("p", FLOAT, [2, 3])]
        )
        branch = node("If", "yes", "y", then_branch=inner, else_branch=other)
        ports = {"x": (FLOAT, [2, 3]), "yes": (onnx.TensorProto.BOOL, [])}, {"y": (FLOAT, [2, 3])}
        return model([node("Relu", "x", "h"), branch], *ports)

    (site,) = find_changed_tensors(
        Structure(Model.read("a", conditional(1))), Structure(Model.read("b", conditional(2)))
    )
    assert (site.name, site.boundary) == ("y", ("h", "yes"))
    assert check(conditional(2), conditional(2)).passed
    assert not check(conditional(1), conditional(1.001), VerifyOptions(samples=2)).passed


@pytest.mark.parametrize("memory", [1, 3000, 2**31])
def test_memory_decides_how_much_is_looked_at_at_once_and_nothing_else(memory):
    original = chain()
    folded = bnfold.fold(original, verify=None).model
    verdict = bnfold.verify(original, folded, memory=memory)
    assert verdict.passed, verdict.problem
    assert [tensor.name for tensor in verdict.tensors] == ["n1", "y"]
    wrong = next(tensor for tensor in folded.graph.initializer if tensor.dims[:2] == [5, 4])
    values = onnx.numpy_helper.to_array(wrong).copy()
    values[3] *= 1.01
    wrong.CopyFrom(onnx.numpy_helper.from_array(values, wrong.name))
    verdict = bnfold.verify(original, folded, memory=memory)
    assert [tensor.passed for tensor in verdict.tensors] == [True, False]
    assert verdict.problem.startswith("tensor 'y': channel 3 ")


def folded_with_the_name_of_the_conv(spoil: float = 1.0) -> onnx.ModelProto:
    """The first fold as other tools make it: the Conv keeps its name, and the BatchNorm's is gone."""
    folded = bnfold.fold(chain(), verify=None, exclude=["n2*"]).model
    for entry in folded.graph.node:
        entry.input[:] = ["c1" if name == "n1" else name for name in entry.input]
        entry.output[:] = ["c1" if name == "n1" else name for name in entry.output]
    weight = next(tensor for tensor in folded.graph.initializer if list(tensor.dims) == [4, 3, 3, 3])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3] *= spoil
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return folded


def test_a_name_that_means_another_tensor_is_a_difference_unless_the_caller_says_so():
    verdict = bnfold.verify(chain(), folded_with_the_name_of_the_conv())
    assert verdict.problem.startswith("tensor 'c1': ")
    assert "same_names=False" in verdict.warnings[-1]
    verdict = bnfold.verify(chain(), folded_with_the_name_of_the_conv(), same_names=False)
    assert verdict.passed, verdict.problem
    assert verdict.warnings == ("names of other tensors in the new model: c1",)
    assert [tensor.name for tensor in verdict.tensors] == ["r1"]


def test_a_wrong_fold_does_not_hide_behind_a_name():
    verdict = bnfold.verify(chain(), folded_with_the_name_of_the_conv(1.001), same_names=False)
    assert verdict.problem.startswith("tensor 'r1': channel 3 ")


def test_no_part_begins_with_the_weights_of_a_sum():
    """Their rows sum to 1: of other values, what is added to all that they weigh would not be what is added behind."""
    net = Network()
    net.node("MatMul", ["x", "t"], "scores")
    net.node("Softmax", ["scores"], "weights", axis=-1)
    net.node("Add", ["x", net.weight("shift", 3)], "values")
    net.node("MatMul", ["weights", "values"], "mixed")
    net.node("MatMul", ["mixed", net.weight("w", 3, 2)], "product")
    net.node("Add", ["product", net.weight("b", 2)], "y")
    original = net.model({"x": [2, 4, 3], "t": [2, 3, 4]}, ["y"])
    folded = bnfold.fold(original, verify=None).model
    assert [node.op_type for node in folded.graph.node].count("Add") == 1
    (site,) = find_changed_tensors(*structures(original, folded))
    assert (site.name, site.boundary) == ("y", ("scores", "x"))
    assert check(original.SerializeToString(), folded.SerializeToString(), VerifyOptions()).passed


def test_a_constant_that_both_models_compute_alike_is_the_same():
    def quantized(scale: float) -> onnx.ModelProto:
        net = Network()
        net.initializers["w"] = net.random.integers(-9, 9, (4, 3, 1, 1)).astype(np.int8)
        net.node("DequantizeLinear", ["w", net.constant("s", 0.5)], "d")
        net.node("Conv", ["x", "d"], "c")
        net.node("Mul", ["c", net.constant("k", scale)], "y")
        return net.model({"x": [1, 3, 4, 4]}, ["y"])

    assert [tensor.name for tensor in find_changed_tensors(*structures(quantized(1), quantized(2)))] == ["y"]


def test_no_part_begins_with_an_input_of_one_side_and_with_what_is_made_of_it():
    """The new model makes of n alone what the original makes of n and of c, which is n without its scale."""

    def network(size: float, output: str, *last) -> onnx.ModelProto:
        net = Network()
        net.node("Conv", ["x", net.constant("w", size * np.eye(4)[..., None, None])], output)
        net.node("Mul", [output, net.constant("k", 3.0 / size)], "n")
        net.node(*last[:1], [*last[1:-1], net.constant("l", last[-1]) if last[0] == "Mul" else last[-1]], "y")
        return net.model({"x": [1, 4, 5, 5]}, ["y", "n"])

    original, new = network(1, "c", "Add", "n", "c"), network(3, "folded", "Mul", "n", 4 / 3)
    tensors = find_changed_tensors(*structures(original, new))
    assert {tensor.name: tensor.boundary for tensor in tensors} == {"n": ("x",), "y": ("x",)}
    assert bnfold.verify(original, new).passed


def test_numbers_of_a_type_that_nobody_knows_are_compared_as_bytes():
    """Newer types of ONNX are older than whoever checks a model that has them."""

    def of(values):
        proto = model_proto([node("Identity", "w", "y")], {}, {"y": (FLOAT, None)}, {"w": np.array(values, np.int8)})
        proto.graph.initializer[0].data_type = 99
        return Structure(Model("a model", proto))

    assert same_parameter(of([1, 2]), of([1, 2]), "w", "w")
    assert not same_parameter(of([1, 2]), of([1, 3]), "w", "w")
