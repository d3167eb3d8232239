"""What stays of BatchNorms, rewritten: equal, said, and so that a second run finds nothing to do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnfold.engine import fold_graph
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import count, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.test_across import conv, tame_batch_norm

FORMS = ("conv", "affine", "add")
SHAPE = [2, 6, 8, 8]


def lowered(model, form, **options):
    """Lowered and equal; a second run, lowering or not, changes nothing."""
    folded = fold_and_compare(model, lower=form, **options)
    for again in (None, form):
        second = fold(folded.model, lower=again)
        assert second.folds == second.lowered == ()
        assert second.model.SerializeToString() == folded.model.SerializeToString()
    return folded


def read_twice(network, source, **batch_norm):
    """A BatchNorm that stays: a Sigmoid reads its input too, and a Relu its output."""
    y = tame_batch_norm(network, source, "n", **batch_norm)
    y = conv(network, network.node("Relu", [y], "r"), "c")
    return network.node("Add", [y, network.node("Sigmoid", [source], "s")], "y")


def behind_conv(**batch_norm):
    network = Network()
    read_twice(network, conv(network, "x", "stem"), **batch_norm)
    return network.model({"x": SHAPE}, ["y"])


@pytest.mark.parametrize(
    ("form", "expected"), [("conv", ("Conv",)), ("affine", ("Mul", "Add")), ("add", ("Add",))], ids=FORMS
)
def test_each_form(form, expected):
    folded = lowered(behind_conv(), form)
    assert count(folded.model, "BatchNormalization") == 0
    (entry,) = folded.lowered
    assert (entry.node, entry.op, entry.operators) == ("n_node", "BatchNormalization", expected)
    assert entry.refusals[0].reason is Reason.OTHER_CONSUMERS
    assert entry.into == (("c_node",) if form == "add" else ())
    assert not any(node.is_batch_norm for node in folded.kept)


def test_a_depthwise_convolution_is_plain():
    folded = lowered(behind_conv(), "conv")
    node = next(node for node in folded.model.graph.node if node.name == "n_node")
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    assert attributes == {"group": 6, "kernel_shape": [1, 1]}
    shapes = {tensor.name: list(tensor.dims) for tensor in folded.model.graph.initializer}
    assert [shapes[name] for name in node.input[1:]] == [[6, 1, 1, 1], [6]]
    assert len(folded.model.graph.initializer) == 6


@pytest.mark.parametrize(
    ("batch_norm", "without_addition"),
    [
        ({"scale": {0: -1.0, 3: -0.5}}, Reason.NEEDS_NON_NEGATIVE_SCALE),
        ({"scale": {1: 0.0}, "bias": {1: -1.0}}, None),
        ({"scale": {1: 0.0}, "bias": {1: 1.0}}, Reason.SHIFT_CANNOT_PASS),
    ],
    ids=["negative", "zero, below 0", "zero, above 0"],
)
def test_signs_and_zeros(batch_norm, without_addition):
    """An addition cannot stand for a sign in front of a Relu, nor for a constant above 0 in front of padding."""
    model = behind_conv(**batch_norm)
    for form in ("conv", "affine"):
        assert count(lowered(model, form).model, "BatchNormalization") == 0
    folded = lowered(model, "add")
    reasons = [entry.not_lowered.reason for entry in folded.kept if entry.is_batch_norm]
    assert reasons == ([] if without_addition is None else [without_addition])


def test_a_channel_of_scale_0_is_a_constant_for_readers_without_padding():
    network = Network()
    stem = conv(network, "x", "stem")
    y = tame_batch_norm(network, stem, "n", scale={0: 0.0, 1: 0.0}, bias={0: 2.0, 1: -2.0})
    y = conv(network, network.node("Relu", [y], "r"), "c", kernel=1)
    network.node("Add", [y, network.node("Sigmoid", [stem], "s")], "y")
    folded = lowered(network.model({"x": SHAPE}, ["y"]), "add")
    assert [entry.operators for entry in folded.lowered] == [("Add",)]


def test_the_scale_goes_in_front_where_only_that_is_free():
    """A Gelu behind the BatchNorm pins what it makes; the convolution before it is read by this BatchNorm alone, and by
    a Relu whose reader takes the inverse.
    """
    network = Network(opset=20)
    stem = conv(network, "x", "stem")
    y = network.node("Gelu", [tame_batch_norm(network, stem, "n")], "g")
    other = conv(network, network.node("Relu", [stem], "r"), "c")
    network.node("Add", [y, other], "y")
    folded = lowered(network.model({"x": SHAPE}, ["y"]), "add")
    (entry,) = folded.lowered
    assert entry.operators == ("Add",)
    assert set(entry.into) == {"stem_node", "c_node"}


@pytest.mark.parametrize("shape", [[2, 6], [2, 6, 5], [2, 6, 5, 4], [2, 6, 5, 4, 3], [2, 6, 3, 2, 2, 2], [7]], ids=len)
@pytest.mark.parametrize("form", ["conv", "affine"])
def test_ranks(shape, form):
    network = Network()
    channels = shape[1] if len(shape) > 1 else 1
    network.batch_norm("x", "y", channels)
    folded = lowered(network.model({"x": shape}, ["y"]), form)
    expected = ["Conv"] if form == "conv" and 3 <= len(shape) <= 5 else ["Mul", "Add"]
    assert operators(folded.model) == expected


@pytest.mark.parametrize("form", FORMS)
def test_as_many_channels_as_places(form):
    network = Network()
    read_twice(network, conv(network, "x", "stem"))
    lowered(network.model({"x": [2, 6, 6, 6]}, ["y"]), form)


def alone(scale, shift, form, shape=(2, 3, 4, 4)):
    network = Network()
    values = {"scale": scale, "bias": shift, "mean": 0.0, "var": 1.0 - 1e-5}
    names = [network.constant(key, np.full(3, value)) for key, value in values.items()]
    network.node("BatchNormalization", ["x", *names], "y")
    return lowered(network.model({"x": list(shape)}, ["y"]), form)


@pytest.mark.parametrize(
    ("scale", "shift", "expected"), [(2.0, 0.0, ["Mul"]), (1.0, 2.0, ["Add"]), (1.0, 0.0, ["Mul"]), (0.0, 2.0, None)]
)
def test_half_an_identity(scale, shift, expected):
    folded = alone(scale, shift, "affine")
    assert operators(folded.model) == (expected or ["Mul", "Add"])


def test_between_input_and_output_no_addition_stands_for_it():
    folded = alone(2.0, 1.0, "add")
    assert operators(folded.model) == ["BatchNormalization"]
    (entry,) = folded.kept
    assert entry.not_lowered.reason in (Reason.GRAPH_INPUT, Reason.GRAPH_OUTPUT)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 20])
def test_opsets(opset, form):
    network = Network(opset=opset)
    read_twice(network, conv(network, "x", "stem"))
    folded = lowered(network.model({"x": SHAPE}, ["y"]), form)
    assert count(folded.model, "BatchNormalization") == 0


def test_optional_outputs_that_are_absent_are_left_out():
    network = Network(opset=13)
    network.batch_norm("x", "y", 6)
    network.nodes[-1].output.extend(["", ""])
    folded = fold(network.model({"x": SHAPE}, ["y"], check=False), lower="conv")
    assert list(folded.model.graph.node[0].output) == ["y"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("statistics", ["float16", "float32"])
def test_half_precision(form, statistics):
    """The constants have the type of the tensor, whatever type the statistics have."""
    network = Network()
    stem = conv(network, "x", "stem", dtype="float16")
    y = tame_batch_norm(network, stem, "n", dtype=statistics)
    y = conv(network, network.node("Relu", [y], "r"), "c", dtype="float16")
    network.node("Add", [y, network.node("Sigmoid", [stem], "s")], "y")
    model = network.model({"x": SHAPE}, ["y"], dtype="float16")
    folded = lowered(model, form, relative=2e-2)
    assert count(folded.model, "BatchNormalization") == 0
    assert {tensor.data_type for tensor in folded.model.graph.initializer} == {TensorProto.FLOAT16}


@pytest.mark.parametrize(("scale", "reason"), [(1e6, Reason.OVERFLOW), (1e-7, Reason.UNDERFLOW)])
@pytest.mark.parametrize("form", ["conv", "affine"])
def test_what_a_type_cannot_hold_stays(scale, reason, form):
    network = Network()
    values = {"scale": scale, "bias": 0.0, "mean": 0.0, "var": 1.0}
    names = [network.constant(key, np.full(6, value)) for key, value in values.items()]
    network.node("BatchNormalization", ["x", *names], "y")
    folded = fold(network.model({"x": SHAPE}, ["y"], dtype="float16"), lower=form)
    assert operators(folded.model) == ["BatchNormalization"]
    assert folded.kept[0].not_lowered.reason is reason


@pytest.mark.parametrize("form", ["conv", "affine"])
def test_doubles_become_arithmetic(form):
    """onnxruntime has no Conv for them."""
    network = Network()
    network.batch_norm("x", "y", 6, dtype="float64")
    folded = lowered(network.model({"x": SHAPE}, ["y"], dtype="float64"), form)
    assert operators(folded.model) == ["Mul", "Add"]


@pytest.mark.parametrize("form", FORMS)
def test_two_batch_norms_that_share_their_parameters(form):
    network = Network()
    stem = conv(network, "x", "stem")
    first = tame_batch_norm(network, stem, "n")
    names = list(network.nodes[-1].input[1:])
    second = network.node("BatchNormalization", [network.node("Sigmoid", [stem], "s"), *names], "m")
    left, right = (conv(network, network.node("Relu", [y], f"{y}r"), f"{y}c") for y in (first, second))
    network.node("Add", [left, right], "y")
    folded = lowered(network.model({"x": SHAPE}, ["y"]), form)
    assert len(folded.lowered) == 2


@pytest.mark.parametrize("form", ["conv", "affine"])
def test_one_tensor_for_all_four_parameters(form):
    network = Network()
    name = network.constant("p", network.random.uniform(0.5, 2, 6))
    network.node("BatchNormalization", ["x", name, name, name, name], "y")
    network.node("Neg", [name], "z")
    folded = lowered(network.model({"x": SHAPE}, ["y", "z"]), form)
    assert count(folded.model, "BatchNormalization") == 0
    assert "p" in {tensor.name for tensor in folded.model.graph.initializer}


@pytest.mark.parametrize("form", FORMS)
def test_in_a_body(form):
    network = Network()
    y = tame_batch_norm(network, "x", "n")
    network.node("Relu", [y], "then_y")
    body = helper.make_graph(
        network.nodes, "body", [], [helper.make_tensor_value_info("then_y", TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["else_y"])],
        "other",
        [],
        [helper.make_tensor_value_info("else_y", TensorProto.FLOAT, None)],
    )
    network.nodes = [helper.make_node("If", ["condition"], ["y"], name="if", then_branch=body, else_branch=other)]
    network.initializers["condition"] = np.array(True)
    folded = lowered(network.model({"x": SHAPE}, {"y": SHAPE}), form)
    (body,) = (entry.g for entry in folded.model.graph.node[0].attribute if entry.name == "then_branch")
    inside = [node.op_type for node in body.node if node.op_type != "Constant"]
    expected = {"conv": ["Conv", "Relu"], "affine": ["Mul", "Add", "Relu"], "add": ["BatchNormalization", "Relu"]}
    assert inside == expected[form]


def test_training_and_excluded_ones_stay():
    network = Network()
    network.batch_norm("x", "a", 6)
    trains = list(network.nodes[-1].input[1:])
    network.nodes[-1] = helper.make_node(
        "BatchNormalization", ["x", *trains], ["a", "m", "v"], training_mode=1, name="t"
    )
    network.batch_norm("a", "y", 6)
    model = network.model({"x": SHAPE}, ["y"])
    folded = fold(model, lower="conv", exclude=("y_node",))
    assert folded.model.SerializeToString() == model.SerializeToString()
    assert [entry.not_lowered for entry in folded.kept] == [None, None]
    assert operators(fold(model, lower="conv").model) == ["BatchNormalization", "Conv"]


def test_of_unknown_rank_it_stays():
    network = Network()
    network.initializers["all"] = np.ones(4, bool)
    shape = network.node("Compress", [network.node("Shape", ["x"], "shape"), "all"], "target")
    network.batch_norm(network.node("Reshape", ["x", shape], "r"), "y", 6)
    folded = fold(network.model({"x": ["n", 6, 8, 8]}, {"y": ["n", 6, 8, 8]}), lower="affine")
    assert count(folded.model, "BatchNormalization") == 1
    assert folded.reasons == [Reason.UNKNOWN_SHAPE]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_types_that_inference_does_not_know_are_told_by_operators(dtype):
    """Behind an operator that nobody knows, a convolution's weight says the type, and the statistics do not."""
    network = Network()
    odd = network.node("Odd", ["x"], "o", domain="custom")
    y = network.node("Relu", [conv(network, odd, "c", dtype=dtype)], "r")
    y = network.node("Sigmoid", [network.node("Odd", [y], "p", domain="custom")], "q")
    network.batch_norm(network.node("MaxPool", ["r"], "m", kernel_shape=[2, 2]), "y", 6)
    network.batch_norm(y, "z", 6)
    shapes = {"y": [2, 6, 7, 7], "z": [2, 6, 8, 8]}
    model = network.model({"x": SHAPE}, shapes, dtype=dtype, domains={"custom": 1}, check=False)
    outcome = _without_check(model)
    (entry,) = outcome.lowered
    assert (entry.node, entry.operators) == ("y_node", ("Conv",))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    (node,) = (node for node in model.graph.node if node.name == "y_node")
    expected = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
    assert {constants[name].data_type for name in node.input[1:]} == {expected}
    assert [kept.node for kept in outcome.kept if kept.is_batch_norm] == ["z_node"]


def _without_check(model):
    """Lowered in place; onnx's checker does not know every operator."""
    port = OnnxPort(model, TensorStore(None))
    outcome = fold_graph(port, lower="conv")
    port.finish()
    return outcome


@pytest.mark.parametrize("form", FORMS)
def test_names_never_collide(form):
    model = behind_conv()
    taken = ["n.scale_folded", "n.bias_1", "n_before_bias", "n_folded", "stem_folded", "n.scale_bias"]
    for name in taken:
        model.graph.node.append(helper.make_node("Neg", ["x"], [name], name=f"{name}_node"))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE))
    onnx.checker.check_model(model)
    lowered(model, form)


@pytest.mark.parametrize("affine", [True, False])
def test_only_what_stays_is_lowered(affine):
    network = Network()
    y = network.batch_norm(conv(network, "x", "stem"), "n", 6)
    read_twice_by = network.node("Sigmoid", [network.batch_norm(y, "m", 6)], "s")
    network.batch_norm(read_twice_by, "y", 6)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]), lower="conv", affine=affine)
    assert operators(folded.model) == ["Conv", "Sigmoid", "Conv"]
    assert (len(folded.folds), len(folded.lowered)) == (2, 1)
