"""What is inside bodies, functions and recurrent operators, and cannot be seen from outside."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, inliner, numpy_helper

import bnfold
from tests.networks import Network
from tests.verifier.spoiling import of_shape, spoiled

CHANNELS = 4
SHAPE = [2, CHANNELS, 5, 5]
LITTLE = 1 + 2e-5


def value(name: str, shape=SHAPE) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def block(source: str, output: str, seed: int = 1) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Conv and BatchNorm."""
    net = Network(seed=seed)
    net.node("Conv", [source, net.weight(f"{output}.w", CHANNELS, CHANNELS, 3, 3)], f"{output}.c", pads=[1] * 4)
    net.batch_norm(f"{output}.c", output, CHANNELS)
    return net.nodes, [numpy_helper.from_array(values, name) for name, values in net.initializers.items()]


def body(nodes, tensors, inputs, outputs) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, [value(name) for name in outputs], tensors)


def untaken() -> onnx.ModelProto:
    """An If whose else branch no input reaches."""
    net = Network()
    net.node("Relu", ["x"], "r")
    net.constant("low", -1e30)
    net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Greater", ["top", "low"], "always")
    then = body([helper.make_node("Neg", ["r"], ["t"])], [], [], ["t"])
    net.node("If", ["always"], "y", then_branch=then, else_branch=body(*block("r", "e"), [], ["e"]))
    return net.model({"x": SHAPE}, {"y": SHAPE})


def loop() -> onnx.ModelProto:
    """Three turns around a Conv, a BatchNorm and a Sigmoid."""
    net = Network()
    net.initializers["turns"] = np.asarray(3, np.int64)
    nodes, tensors = block("state", "n")
    nodes += [helper.make_node("Sigmoid", ["n"], ["next"]), helper.make_node("Identity", ["go"], ["on"])]
    inputs = [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        value("state"),
    ]
    inside = helper.make_graph(
        nodes, "body", inputs, [helper.make_tensor_value_info("on", TensorProto.BOOL, []), value("next")], tensors
    )
    net.node("Loop", ["turns", "", "x"], "y", body=inside)
    return net.model({"x": SHAPE}, {"y": SHAPE})


def scan() -> onnx.ModelProto:
    """A state and a slice, along the second axis of the input."""
    net = Network()
    nodes, tensors = block("sum", "n")
    nodes = [helper.make_node("Add", ["state", "slice"], ["sum"]), *nodes, helper.make_node("Tanh", ["n"], ["next"])]
    nodes.append(helper.make_node("Neg", ["n"], ["made"]))
    inside = body(nodes, tensors, [value("state"), value("slice")], ["next", "made"])
    net.constant("start", np.zeros(SHAPE))
    net.node("Scan", ["start", "x"], ["last", "y"], body=inside, num_scan_inputs=1, scan_input_axes=[1])
    return net.model({"x": [SHAPE[0], 3, *SHAPE[1:]]}, {"last": SHAPE, "y": [3, *SHAPE]})


def function() -> onnx.ModelProto:
    """Four blocks inside one function, with a slope that the call gives: a fault in the first drowns in the others."""
    nodes, source = [], "f_x"
    for number in range(4):
        made, tensors = block(source, f"n{number}", seed=number)
        nodes += [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors]
        bend = helper.make_node("LeakyRelu", [f"n{number}"], [f"r{number}"])
        bend.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
        nodes += [*made, bend]
        source = f"r{number}"
    opsets = [helper.make_opsetid("", 17)]
    own = helper.make_function("own", "Blocks", ["f_x"], [source], nodes, opsets, ["slope"])
    net = Network()
    net.node("Blocks", ["x"], "y", domain="own", slope=0.25)
    return net.model({"x": SHAPE}, {"y": SHAPE}, functions=[own], domains={"own": 1})


def nested() -> onnx.ModelProto:
    """A body in a body."""
    net = Network()
    net.constant("low", -1e30)
    net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Greater", ["top", "low"], "always")
    inner = body(*block("x", "i"), [], ["i"])
    pick = helper.make_node(
        "If", ["always"], ["o"], then_branch=body([helper.make_node("Neg", ["x"], ["t"])], [], [], ["t"]),
        else_branch=inner,
    )  # fmt: skip
    outer_else = body([helper.make_node("Abs", ["x"], ["a"])], [], [], ["a"])
    net.node("If", ["always"], "y", then_branch=body([pick], [], [], ["o"]), else_branch=outer_else)
    return net.model({"x": SHAPE}, {"y": SHAPE})


def saturated(operator: str, gates: int, **attributes: object) -> Callable[[], onnx.ModelProto]:
    """A recurrent operator in both directions whose gates are open or closed whatever comes in."""

    def make() -> onnx.ModelProto:
        net, hidden = Network(seed=4), 3
        net.batch_norm("x", "n", 5)
        net.node("Transpose", ["n"], "t", perm=[2, 0, 1])
        rows = gates * hidden
        shapes = {"w": (rows, 5), "r": (rows, hidden), "b": (2 * rows,), "p": (3 * hidden,)}
        for name, shape in shapes.items():
            net.constant(name, net.random.normal(size=(2, *shape)) * 1e5)
        names = ["t", "w", "r", "b", *(["", "", "", "p"] if operator == "LSTM" else [])]
        net.node(operator, names, ["y"], hidden_size=hidden, direction="bidirectional", **attributes)
        return net.model({"x": [2, 5, 4]}, ["y"])

    make.__name__ = operator
    return make


RECURRENT = (
    saturated("LSTM", 4), saturated("GRU", 3), saturated("GRU", 3, linear_before_reset=1), saturated("RNN", 1),
)  # fmt: skip
NETWORKS = (
    untaken, loop, scan, function, nested, *RECURRENT,
)  # fmt: skip


def weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored weight, wherever it is, in the order of the file."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    stored = [*model.graph.initializer]
    while waiting:
        for entry in waiting.pop(0).attribute:
            stored += [entry.t] if entry.HasField("t") else []
            if entry.HasField("g"):
                stored += entry.g.initializer
                waiting += entry.g.node
    yield from (tensor for tensor in stored if re.search(r"(^|\.)w(_folded\w*)?$", tensor.name))


def little_off(model: onnx.ModelProto) -> onnx.ModelProto:
    """The first weight, a little larger in its third output channel."""

    def change(values):
        values[2 if len(values) > 2 else 0] *= LITTLE

    return spoiled(model, lambda copy: next(weights(copy)), change)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_a_fault_inside_is_found_and_a_correct_fold_passes(make):
    original = make()
    result = bnfold.fold(original, verify=None)
    assert result.report.batch_norms.kept == 0
    verdict = bnfold.verify(original, result.model)
    assert verdict.passed, verdict.problem
    verdict = bnfold.verify(original, little_off(result.model))
    assert not verdict.passed
    assert "differs inside: " in verdict.problem
    assert " times what it was" in verdict.problem or " differs: " in verdict.problem


@pytest.mark.parametrize(
    ("make", "parameter"),
    [(make, name) for make in RECURRENT for name in ("rp" if make.__name__ == "LSTM" else "r")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_one_number_of_what_the_states_meet_is_found(make, parameter):
    original = make()
    folded = bnfold.fold(original, verify=None).model
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.graph.initializer}[parameter]
    for place in np.flatnonzero(np.abs(stored) > np.abs(stored).max() / 100)[::3]:

        def change(values, place=place):
            values.reshape(-1)[place] *= 1.01

        wrong = spoiled(folded, of_shape(stored.shape), change)
        assert "differs inside: " in bnfold.verify(original, wrong).problem


@pytest.mark.parametrize("apart", [0, 1])
def test_a_bias_may_be_of_the_input_or_of_the_state_where_both_are_added(apart):
    def network(of_state: float, total: float = 3) -> onnx.ModelProto:
        net = Network()
        net.node("Transpose", ["x"], "t", perm=[2, 0, 1])
        bias = [[*[total - of_state] * 6, *[of_state] * 6]]
        names = [net.weight("w", 1, 6, 5), net.weight("r", 1, 6, 2), net.constant("b", bias)]
        net.node("GRU", ["t", *names], ["y"], hidden_size=2, linear_before_reset=apart)
        return net.model({"x": [2, 5, 4]}, ["y"])

    for other in (2, 1.00002):  # what is off by so little is not seen in what the operator makes
        assert bnfold.verify(network(1), network(other)).passed != bool(apart)
    assert not bnfold.verify(network(1), network(1, total=3.001)).passed
    assert not bnfold.verify(network(1), network(1.001, total=3.001)).passed


def capturing(captured: str, factor: float) -> onnx.ModelProto:
    """The original scales outside, the other model inside: n and c are one tensor and twice that."""
    net = Network()
    net.node("Relu", ["x"], "c")
    net.constant("two", 2.0)
    net.constant("low", 0.0)
    net.node("Mul", ["c", "two"], "n")
    net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Greater", ["top", "low"], "positive")
    scale = numpy_helper.from_array(np.float32(factor), "k")
    then = body([helper.make_node("Mul", [captured, "k"], ["t"])], [scale], [], ["t"])
    other = body([helper.make_node("Neg", ["c"], ["e"])], [], [], ["e"])
    net.node("If", ["positive"], "y", then_branch=then, else_branch=other)
    return net.model({"x": SHAPE}, {"y": SHAPE, "n": SHAPE})


def test_a_body_that_reads_other_tensors_is_seen_from_outside():
    assert bnfold.verify(capturing("n", 3), capturing("c", 6)).passed
    assert not bnfold.verify(capturing("n", 3), capturing("c", 6.01)).passed


def test_a_body_that_does_not_run_by_itself_is_seen_from_outside():
    # Only where x is negative has the table a row for it.
    def network(factor: float) -> onnx.ModelProto:
        net = Network()
        net.constant("low", 0.0)
        net.initializers["table"] = np.ones((1, 5), np.float32)
        net.node("ReduceMax", ["x"], "top", keepdims=0)
        net.node("Greater", ["top", "low"], "positive")
        net.node("Cast", ["positive"], "row", to=TensorProto.INT64)
        scale = numpy_helper.from_array(np.float32(factor), "k")
        nodes = [
            helper.make_node("Gather", ["table", "row"], ["g"]),
            helper.make_node("Add", ["x", "g"], ["s"]),
            helper.make_node("Mul", ["s", "k"], ["e"]),
        ]
        then = body([helper.make_node("Neg", ["x"], ["t"])], [], [], ["t"])
        net.node("If", ["positive"], "y", then_branch=then, else_branch=body(nodes, [scale], [], ["e"]))
        return net.model({"x": SHAPE}, {"y": SHAPE})

    assert bnfold.verify(network(3), network(3)).passed
    assert not bnfold.verify(network(3), network(3.01)).passed


def test_arguments_of_a_function_may_be_weights_or_left_out():
    def network(factor: float) -> onnx.ModelProto:
        scale = numpy_helper.from_array(np.full((CHANNELS, 1, 1), factor, np.float32), "f_k")
        nodes = [
            helper.make_node("Constant", [], ["f_k"], value=scale),
            helper.make_node("Conv", ["f_x", "f_w", "f_b"], ["f_c"]),
            helper.make_node("Relu", ["f_c"], ["f_r"]),
            helper.make_node("Mul", ["f_r", "f_k"], ["f_y"]),
        ]
        opsets = [helper.make_opsetid("", 17)]
        own = helper.make_function("own", "Scaled", ["f_x", "f_w", "f_b"], ["f_y"], nodes, opsets)
        net = Network()
        net.node("Scaled", ["x", net.weight("w", CHANNELS, CHANNELS, 1, 1)], "y", domain="own")
        return net.model({"x": SHAPE}, {"y": SHAPE}, functions=[own], domains={"own": 1})

    assert bnfold.verify(network(3), network(3)).passed
    verdict = bnfold.verify(network(3), network(3 * LITTLE))
    assert verdict.problem.startswith("tensor 'y': differs inside: 'f_y' ")


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_a_function_that_was_written_out_is_computed_as_onnxruntime_computes_it(opset):
    """Below version 14, onnx's reference implementation takes the statistics of the batch in a BatchNormalization."""
    nodes, tensors = block("f_x", "f_y")
    opsets = [helper.make_opsetid("", opset)]
    held = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors]
    own = helper.make_function("own", "Block", ["f_x"], ["f_y"], [*held, *nodes], opsets)
    net = Network(opset=opset)
    net.node("Block", ["x"], "y", domain="own")
    model = net.model({"x": SHAPE}, {"y": SHAPE}, functions=[own], domains={"own": 1})
    written_out = inliner.inline_local_functions(model)
    assert [node.op_type for node in written_out.graph.node if node.op_type != "Constant"] == [
        "Conv",
        "BatchNormalization",
    ]
    assert bnfold.verify(model, bnfold.fold(written_out, verify=False).model).passed
