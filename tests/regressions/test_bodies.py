"""Bodies of If, Loop and Scan: captures are uses, bodies fold as graphs of their own, nothing crosses the border."""

import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import add_loop, body, count_everywhere, floats, loop_body

SHAPE = [2, 3, 4, 4]
both_ways = pytest.mark.parametrize("condition", [True, False])


def add_if(network: Network, condition: bool, output: str, then_branch, else_branch) -> str:
    network.constant(f"{output}.condition", condition, "bool")
    return network.node("If", [f"{output}.condition"], output, then_branch=then_branch, else_branch=else_branch)


def conv_and_batch_norm(source: str, output: str, seed: int) -> Network:
    inner = Network(seed=seed)
    inner.batch_norm(inner.node("Conv", [source, inner.weight("w", 3, 3, 1, 1)], "c"), output, 3)
    return inner


def branch(op_type: str, source: str):
    inner = Network()
    inner.node(op_type, [source], f"{op_type}_of_{source}")
    return body(inner, {}, {f"{op_type}_of_{source}": SHAPE})


@both_ways
def test_a_body_captures_the_output_of_a_batch_norm(condition):
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    add_if(network, condition, "y", branch("Neg", "n"), branch("Abs", "n"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert folded.batch_norms_left == 0


@both_ways
def test_a_body_captures_the_output_of_a_conv(condition):
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "y", 3)
    add_if(network, condition, "z", branch("Neg", "c"), branch("Abs", "x"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert folded.reasons == [Reason.CAPTURED]


def test_loop_and_scan_bodies_capture_the_output_of_a_conv():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    network.batch_norm(network.node("Conv", ["x", network.weight("v", 3, 3, 1, 1)], "d"), "m", 3)
    inner = Network()
    inner.node("Add", ["state", "c"], "sum")
    add_loop(network, "n", "y", loop_body(inner, "state", "sum", SHAPE))
    scan = Network()
    scan.node("Add", ["row", "d"], "result")
    graph = body(scan, {"row": SHAPE[1:]}, {"result": SHAPE})
    network.node("Scan", ["m"], "z", body=graph, num_scan_inputs=1)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE, "z": [2, *SHAPE]}))
    assert folded.reasons == [Reason.CAPTURED] * 2


def test_a_body_two_levels_down_captures_the_output_of_a_conv():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "y", 3)
    middle = Network()
    add_if(middle, True, "deep", branch("Neg", "c"), branch("Abs", "x"))
    add_if(network, True, "z", body(middle, {}, {"deep": SHAPE}), branch("Abs", "x"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert folded.reasons == [Reason.CAPTURED]


@both_ways
def test_both_branches_use_the_same_inner_names(condition):
    network = Network()
    branches = [body(conv_and_batch_norm("x", "inner", seed), {}, {"inner": SHAPE}) for seed in (1, 2)]
    add_if(network, condition, "y", *branches)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count_everywhere(folded.model, "BatchNormalization") == 0
    assert len(folded.folds) == 2


def test_a_loop_body():
    network = Network()
    add_loop(network, "x", "y", loop_body(conv_and_batch_norm("state", "result", 1), "state", "result", SHAPE))
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


def test_a_scan_body():
    network = Network()
    graph = body(conv_and_batch_norm("row", "result", 1), {"row": SHAPE}, {"result": SHAPE})
    network.node("Scan", ["x"], "y", body=graph, num_scan_inputs=1)
    folded = fold_and_compare(network.model({"x": [5, *SHAPE]}, {"y": [5, *SHAPE]}))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


def test_a_body_in_a_model_of_ir_version_3_has_no_initializers():
    network = Network(opset=9, ir_version=3)
    inner = conv_and_batch_norm("x", "inner", 1)
    network.initializers.update(inner.initializers)
    inner.initializers.clear()
    add_if(network, True, "y", body(inner, {}, {"inner": SHAPE}), branch("Abs", "x"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"], overridable=True))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


@both_ways
def test_a_weight_of_the_outer_graph_for_all(condition):
    """The main graph and both bodies read one weight and one set of statistics; four folds, one untouched reader."""
    network = Network()
    network.weight("w", 3, 3, 1, 1)
    network.batch_norm(network.node("Conv", ["x", "w"], "c"), "y", 3)
    parameters = list(network.nodes[-1].input[1:])
    branches = []
    for name in ("then", "else"):
        inner = Network()
        inner.node("Conv", ["y", "w"], f"{name}_c")
        inner.node("BatchNormalization", [f"{name}_c", *parameters], f"{name}_n")
        branches.append(body(inner, {}, {f"{name}_n": SHAPE}))
    add_if(network, condition, "z", *branches)
    network.node("Conv", ["x", "w"], "plain")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z", "plain"]))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


def test_an_outer_constant_node_that_one_body_reads():
    network = Network()
    inner = conv_and_batch_norm("x", "inner", 1)
    tensor = inner.initializers.pop("w")
    network.node("Constant", [], "w", value_floats=tensor.ravel().tolist())
    inner.nodes[0].input[1] = "w4"
    network.node("Reshape", ["w", network.constant("w.shape", [3, 3, 1, 1], "int64")], "w4")
    add_if(network, True, "y", body(inner, {}, {"inner": SHAPE}), branch("Abs", "x"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


@both_ways
def test_conv_outside_and_batch_norm_inside(condition):
    """The other branch sees the Conv as it is: nothing may cross the border."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    inner = Network()
    inner.batch_norm("c", "inner", 3)
    add_if(network, condition, "y", body(inner, {}, {"inner": SHAPE}), branch("Abs", "c"))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert folded.reasons == [Reason.CAPTURED]


def test_conv_outside_and_batch_norm_inside_a_loop():
    """The one reader of the Conv runs twice."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    inner = Network()
    inner.batch_norm("c", "n", 3)
    inner.node("Add", ["n", "state"], "sum")
    add_loop(network, "x", "y", loop_body(inner, "state", "sum", SHAPE))
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}))
    assert folded.reasons == [Reason.CAPTURED]


def test_batch_norm_on_the_state_of_a_loop():
    network = Network()
    inner = Network()
    inner.batch_norm("state", "result", 3)
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    add_loop(network, "c", "y", loop_body(inner, "state", "result", SHAPE))
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}))
    assert folded.reasons == [Reason.GRAPH_INPUT]


@pytest.mark.parametrize("kind", ["node", "initializer", "constant", "nested"])
def test_a_body_gives_a_tensor_the_name_that_the_conv_takes_over(kind):
    """A body between Conv and BN names a tensor `y` before the main graph does; the Conv may not become `y` earlier."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.node(
        "If", [network.constant("go", True, "bool")], "z", then_branch=_with_y(kind), else_branch=_with_y(kind)
    )
    network.batch_norm("c", "y", 3)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert folded.batch_norms_left == 0


def _with_y(kind: str):
    inner = Network()
    if kind == "node":
        inner.node("Relu", ["x"], "y")
    if kind == "initializer":
        inner.weight("y", 3, 1, 1)
    if kind == "constant":
        inner.node("Constant", [], "y", value_float=0.5)
    if kind == "nested":
        add_if(inner, True, "deep", *(body(_named_y(op_type), {}, {"y": SHAPE}) for op_type in ("Relu", "Abs")))
    inner.node("Sub", ["x", "deep" if kind == "nested" else "y"], "difference")
    return body(inner, {}, {"difference": SHAPE})


def _named_y(op_type: str) -> Network:
    deepest = Network()
    deepest.node(op_type, ["x"], "y")
    return deepest


def test_a_body_renames_its_state_where_the_conv_takes_its_name():
    """`y` is the state of the Loop, an input of its body."""
    network = Network()
    network.node("Conv", ["x", network.weight("v", 3, 3, 1, 1)], "outer")
    add_loop(network, "x", "z", loop_body(conv_and_batch_norm("y", "result", 1), "y", "result", SHAPE))
    network.batch_norm("outer", "y", 3)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE, "z": SHAPE}))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


def test_a_state_of_a_loop_with_a_default_is_no_constant():
    """An initializer that is also an input of the body: the Loop always gives it a value, other ones every turn."""
    inner = Network()
    inner.batch_norm(inner.node("Conv", ["state", inner.weight("w", 3, 3, 1, 1)], "c"), "result", 3)
    inner.node("Add", ["w", "w"], "w_next")
    graph = loop_body(inner, "state", "result", SHAPE)
    graph.input.extend(floats({"w": [3, 3, 1, 1]}))
    graph.output.extend(floats({"w_next": [3, 3, 1, 1]}))
    network = Network()
    add_loop(network, "x", "y", graph)
    network.nodes[-1].input.append(network.weight("w_first", 3, 3, 1, 1))
    network.nodes[-1].output.append("w_last")
    folded = fold(network.model({"x": SHAPE}, {"y": SHAPE, "w_last": [3, 3, 1, 1]}))
    assert folded.reasons == [Reason.DYNAMIC_WEIGHT]


def test_a_loop_whose_state_changes_its_rank_declares_no_shape():
    """Inference gives the state no rank then, and a MatMul of it no output axis."""
    inner = Network()
    inner.batch_norm(inner.node("MatMul", ["state", inner.weight("w", 3, 3)], "m"), "result", 3)
    graph = loop_body(inner, "state", "result", [])
    graph.input[-1].CopyFrom(helper.make_tensor_value_info("state", TensorProto.FLOAT, None))
    graph.output[-1].CopyFrom(helper.make_tensor_value_info("result", TensorProto.FLOAT, None))
    network = Network()
    add_loop(network, "x", "y", graph)
    folded = fold_and_compare(network.model({"x": [2, 3, 3]}, {"y": [2, 3, 3]}))
    assert folded.reasons == [Reason.UNKNOWN_SHAPE]
