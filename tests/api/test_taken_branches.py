"""Ifs whose condition the file fixes: the branch that is taken counts."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from tests.folding import assert_equal_outputs, count
from tests.networks import Network

X = (2, 3, 5, 5)
IMAGE = {"y": ["n", 4, "h", "w"]}


def value(name):
    return helper.make_empty_tensor_value_info(name)


def branch(name, nodes, output, tensors=()):
    """A body; its tensors may have the names of those of another one."""
    stored = [numpy_helper.from_array(np.asarray(values, np.float32), key) for key, values in dict(tensors).items()]
    return helper.make_graph(nodes, name, [], [value(output)], stored)


def chosen(network, then, otherwise, output, condition="true"):
    return network.node("If", [condition], output, then_branch=then, else_branch=otherwise)


def true(network):
    return network.constant("true", True, "bool")


def folded(model, *, left=0, ifs=0, **options):
    result = bnfold.fold(model, **options)
    assert result.report.verification.passed
    assert_equal_outputs(model, result.model)
    onnx.checker.check_model(result.model, full_check=True)
    assert (count(result.model, "BatchNormalization"), count(result.model, "If")) == (left, ifs)
    return result


def weights(network, count=1):
    return [network.random.normal(size=(4, 3, 1, 1)) for _ in range(count)]


def choice_of_weights(network, *, taken="then"):
    """Two branches with a weight each, under one name."""
    bodies = [branch(name, [], "w", {"w": own}) for name, own in zip("te", weights(network, 2), strict=True)]
    if taken == "else":
        network.node("Not", [true(network)], "false")
    chosen(network, *bodies, "kernel", "true" if taken == "then" else "false")


def convolved_by_choice(*, taken="then"):
    """A BatchNorm behind a Conv whose weight an If chooses."""
    network = Network()
    true(network)
    choice_of_weights(network, taken=taken)
    network.node("Conv", ["x", "kernel"], "c")
    network.batch_norm("c", "y", 4)
    return network.model({"x": X}, IMAGE)


@pytest.mark.parametrize("taken", ["then", "else"])
def test_a_weight_that_a_branch_holds(taken):
    result = folded(convolved_by_choice(taken=taken))
    assert [node.op_type for node in result.model.graph.node] == ["Conv"]
    assert any("the branch that is taken" in warning for warning in result.report.warnings)


def conv_and_norm(network, source, name, *, norm=True):
    """Nodes and tensors of a body that convolves, with a BatchNorm or without."""
    (weight,) = weights(network)
    tensors = {"w": weight}
    nodes = [helper.make_node("Conv", [source, "w"], ["c" if norm else name], name="conv")]
    if norm:
        own = {"s": [0.5, -2.0, 0.0, 1.5], "b": [1.0, 2.0, -3.0, 0.5], "m": [0.1] * 4, "v": [0.5, 2.0, 1.0, 0.1]}
        tensors |= own
        nodes.append(helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], [name], name="norm"))
    return nodes, tensors


def test_a_branch_that_holds_the_operator_and_its_batch_norm():
    """Its names are those of the other branch, and some are taken outside as well."""
    network = Network()
    true(network)
    parts = [conv_and_norm(network, "x", "r") for _ in range(2)]
    chosen(network, *(branch(name, *part[:1], "r", part[1]) for name, part in zip("te", parts, strict=True)), "o")
    network.node("Relu", ["o"], "c")
    network.node("Mul", ["o", "c"], "y")
    folded(network.model({"x": X}, IMAGE))


def test_a_batch_norm_behind_a_branch_that_holds_the_operator():
    network = Network()
    true(network)
    parts = [conv_and_norm(network, "x", "r", norm=False) for _ in range(2)]
    chosen(network, *(branch(name, *part[:1], "r", part[1]) for name, part in zip("te", parts, strict=True)), "o")
    network.batch_norm("o", "y", 4)
    folded(network.model({"x": X}, IMAGE))


def test_a_branch_inside_of_a_branch():
    network = Network()
    true(network)
    nodes, tensors = conv_and_norm(network, "x", "r")
    bodies = {f"{name}_branch": branch(name, nodes, "r", tensors) for name in ("then", "else")}
    inner = helper.make_node("If", ["true"], ["q"], **bodies)
    chosen(network, branch("t", [inner], "q"), branch("e", nodes, "r", tensors), "y")
    folded(network.model({"x": X}, IMAGE))


def test_two_in_a_row_with_the_same_names():
    network = Network()
    true(network)
    source = "x"
    for place in range(2):
        part = [helper.make_node("Relu", [source], ["r"]), helper.make_node("Conv", ["r", "w"], ["c"])]
        tensors = {"w": network.random.normal(size=(3, 3, 1, 1))}
        source = chosen(network, branch("t", part, "c", tensors), branch("e", part[:1], "r"), f"o{place}")
        source = network.node("Softsign", [network.batch_norm(source, f"n{place}", 3)], f"p{place}")
    folded(network.model({"x": X}, {source: ["n", 3, "h", "w"]}))


def test_what_a_branch_hands_on_from_outside():
    """Torch writes a squeeze so: the other branch is the tensor itself."""
    network = Network()
    true(network)
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    relu = [helper.make_node("Relu", ["c"], ["r"])]
    same = [helper.make_node("Identity", ["c"], ["i"])]
    chosen(network, branch("t", same, "i"), branch("e", relu, "r"), "o")
    network.batch_norm("o", "y", 4)
    folded(network.model({"x": X}, IMAGE))


@pytest.mark.parametrize("asked", [0, 2])
def test_a_question_about_shapes_that_the_file_answers(asked):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 5, 5)], "c")
    network.node("Shape", ["c"], "shape")
    network.node("Gather", ["shape", network.constant("at", asked, "int64")], "length")
    network.node("Equal", ["length", network.constant("one", 1, "int64")], "is_one")
    relu = [helper.make_node("Relu", ["c"], ["r"])]
    same = [helper.make_node("Identity", ["c"], ["i"])]
    chosen(network, branch("t", same, "i"), branch("e", relu, "r"), "o", "is_one")
    network.batch_norm("o", "y", 4)
    result = folded(network.model({"x": X}, IMAGE), left=int(asked == 0), ifs=int(asked == 0))
    assert count(result.model, "Shape") == int(asked == 0)


def test_a_condition_of_the_run_time_keeps_both_branches():
    network = Network()
    parts = [conv_and_norm(network, "x", "r", norm=False) for _ in range(2)]
    chosen(network, *(branch(name, *part[:1], "r", part[1]) for name, part in zip("te", parts, strict=True)), "o", "b")
    network.batch_norm("o", "y", 4)
    model = network.model({"x": X}, IMAGE, check=False)
    model.graph.input.append(helper.make_tensor_value_info("b", TensorProto.BOOL, ()))
    folded(model, left=1, ifs=1)


def test_a_condition_that_the_caller_may_replace_keeps_both_branches():
    model = convolved_by_choice()
    model.graph.input.append(helper.make_tensor_value_info("true", TensorProto.BOOL, ()))
    result = bnfold.fold(model)
    assert (count(result.model, "BatchNormalization"), count(result.model, "If")) == (1, 1)


def test_where_nothing_more_folds_not_a_byte_changes():
    network = Network()
    true(network)
    choice_of_weights(network)
    network.node("Conv", ["x", "kernel"], "c")
    network.node("Sigmoid", ["c"], "s")
    network.batch_norm("s", "y", 4)
    model = network.model({"x": X}, IMAGE)
    assert bnfold.fold(model).model.SerializeToString() == model.SerializeToString()


def test_a_body_of_a_loop():
    network = Network()
    true(network)
    network.constant("turns", 2, "int64")
    part = [helper.make_node("Conv", ["a", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"])]
    tensors = {"w": network.random.normal(size=(3, 3, 1, 1)) / 3}
    bodies = {"then_branch": branch("t", part[:1], "c", tensors), "else_branch": branch("e", part, "r", tensors)}
    own = [network.constant(name, [0.5, 0.7, 1.0]) for name in ("scale", "bias", "mean", "var")]
    nodes = [
        helper.make_node("If", ["true"], ["o"], **bodies),
        helper.make_node("BatchNormalization", ["o", *own], ["n"]),
        helper.make_node("Identity", ["on"], ["still"]),
    ]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("on", "still")]
    images = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X) for name in ("a", "n")]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, ())
    body = helper.make_graph(nodes, "body", [turn, flags[0], images[0]], [flags[1], images[1]])
    network.node("Loop", ["turns", "true", "x"], "y", body=body)
    result = folded(network.model({"x": X}, {"y": X}))
    (loop,) = result.model.graph.node
    assert [node.op_type for node in loop.attribute[0].g.node] == ["Conv", "Identity"]


def test_tensors_of_branches_that_lie_beside_the_model(tmp_path):
    model = convolved_by_choice()
    beside = onnx.ModelProto()
    beside.CopyFrom(model)
    source, target = tmp_path / "model.onnx", tmp_path / "folded.onnx"
    onnx.save(beside, source, save_as_external_data=True, location="model.data", size_threshold=64)
    report = bnfold.fold_file(source, target, bnfold.FoldOptions())
    assert report.verification.passed
    folded_model = onnx.load(target)
    assert [node.op_type for node in folded_model.graph.node] == ["Conv"]
    assert_equal_outputs(model, folded_model)


def test_a_function_that_holds_the_choice():
    """It is written out first."""
    network = Network()
    true(network)
    nodes, tensors = conv_and_norm(network, "x", "r", norm=False)
    stored = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(values, np.float32)))
        for name, values in tensors.items()
    ]
    bodies = {"then_branch": branch("t", nodes, "r"), "else_branch": branch("e", [*nodes[:1]], "r")}
    choice = helper.make_node("If", ["on"], ["o"], **bodies)
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "Chosen", ["x", "on"], ["o"], [*stored, choice], opsets)
    network.node("Chosen", ["x", "true"], "o", domain="local")
    network.batch_norm("o", "y", 4)
    model = network.model({"x": X}, IMAGE, functions=[function], domains={"local": 1}, check=False)
    result = folded(model)
    assert [node.op_type for node in result.model.graph.node] == ["Conv"]
