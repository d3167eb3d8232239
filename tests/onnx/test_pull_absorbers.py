"""What else than a convolution ends a path upstream: norms with parameters of their own, embedding tables, MatMul."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare, session
from tests.networks import Network
from tests.onnx.checks import initializer_shapes, operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_stuck, conv, shape_of, step


def folded_behind(network, value, kind, inputs, *expected, axis=1):
    affine(network, value, "y", kind, shape_of(network, inputs, value), axis=axis)
    return assert_moves(network.model(inputs, ["y"]), *expected, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("opset", [7, 17, 22])
def test_instance_norm(rank, opset, kind):
    network = Network(opset=opset)
    network.node("InstanceNormalization", ["x", network.weight("s", 4), network.weight("b", 4)], "norm", epsilon=0.1)
    folded_behind(network, "norm", kind, {"x": (2, 4, 6, 5, 3)[:rank]}, "InstanceNormalization")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups, kind):
    network = Network(opset=21)
    parameters = [network.weight("s", 6), network.weight("b", 6)]
    network.node("GroupNormalization", ["x", *parameters], "norm", num_groups=groups)
    affine(network, "norm", "y", kind, (2, 6, 5, 3))
    model = network.model({"x": (2, 6, 5, 3)}, {"y": (2, 6, 5, 3)})
    assert_moves(model, "GroupNormalization", direction="upstream")


def test_group_norm_with_one_scale_for_a_group_is_another_operator():
    network = Network(opset=18)
    parameters = [network.weight("s", 2), network.weight("b", 2)]
    network.node("GroupNormalization", ["x", *parameters], "norm", num_groups=2)
    affine(network, "norm", "y", "BN", (2, 6, 5, 3))
    model = network.model({"x": (2, 6, 5, 3)}, {"y": (2, 6, 5, 3)}, check=False)
    port = OnnxPort(model, TensorStore(None))
    (meaning,) = (port.decode(node) for node in port.nodes() if node.op == "GroupNormalization")
    assert meaning.reason is Reason.UNKNOWN_VERSION


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("norm_axis", [-2, 1])
def test_layer_norm_over_channels_and_places(norm_axis, bias, kind):
    """Its scale covers (4, 5), so a map over either axis fits."""
    for axis in (1, 2):
        network = Network()
        inputs = ["x", network.weight("s", 4, 5), *([network.weight("b", 4, 5)] if bias else [])]
        network.node("LayerNormalization", inputs, "norm", axis=norm_axis)
        kind_here = kind.replace("BN", "Mul") if axis == 2 else kind
        folded_behind(network, "norm", kind_here, {"x": (2, 4, 5)}, "LayerNormalization", axis=axis)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_layer_norm_over_the_last_axis(bias, kind):
    """Transposed, the channels are its own; as it stands, they are not."""
    for transposed in (True, False):
        network = Network()
        inputs = ["x", network.weight("s", 4), *([network.weight("b", 4)] if bias else [])]
        network.node("LayerNormalization", inputs, "norm")
        network.node("Transpose", ["norm"], "v0", perm=[0, 2, 1] if transposed else [1, 0, 2])
        if transposed:
            folded_behind(network, "v0", kind, {"x": (2, 5, 4)}, "LayerNormalization", "Transpose")
            continue
        affine(network, "v0", "y", kind, (5, 2, 4))
        assert_stuck(network.model({"x": (2, 5, 4)}, ["y"]), Reason.WRONG_AXIS, "y", "v0", "norm")


@pytest.mark.parametrize("kind", KINDS)
def test_layer_norm_on_rank_2(kind):
    network = Network()
    network.node("LayerNormalization", ["x", network.weight("s", 4)], "norm")
    folded_behind(network, "norm", kind, {"x": (5, 4)}, "LayerNormalization")


def test_layer_norm_whose_mean_is_read():
    network = Network()
    network.node("LayerNormalization", ["x", network.weight("s", 4)], ["norm", "mean"])
    affine(network, "norm", "y", "BN", (5, 4))
    network.node("Identity", ["mean"], "other")
    assert_stuck(network.model({"x": (5, 4)}, ["y", "other"]), Reason.STATISTICS_OUTPUTS, "y", "norm")


def test_a_norm_with_a_scale_from_outside():
    network = Network()
    network.node("InstanceNormalization", ["x", "s", network.weight("b", 4)], "norm")
    affine(network, "norm", "y", "BN", (2, 4, 6))
    model = network.model({"x": (2, 4, 6), "s": (4,)}, ["y"])
    assert_stuck(model, Reason.DYNAMIC_PARAMETER, "y", "norm")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index_shape", [(3,), (3, 5), ()], ids=str)
@pytest.mark.parametrize("opset", [7, 17])
def test_embedding(index_shape, opset, kind):
    """Every row of the table takes the map over its columns, which come last."""
    network = Network(opset=opset)
    network.node("Gather", [network.weight("table", 9, 4), "i"], "rows")
    rank = len(index_shape) + 1
    kind = kind if rank == 2 else kind.replace("BN", "Mul")
    affine(network, "rows", "y", kind, (1,) * (rank - 1) + (4,), axis=rank - 1)
    model = network.model({"i": index_shape}, {"y": (*index_shape, 4)}, check=False)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    folded = fold(model)
    assert operators(folded.model) == ["Gather"]
    assert_equal_for_indices(folded, index_shape)


@pytest.mark.parametrize("table_axis", [1, -1])
def test_embedding_along_another_axis(table_axis):
    network = Network()
    network.node("Gather", [network.weight("table", 4, 9), "i"], "columns", axis=table_axis)
    affine(network, "columns", "y", "Mul", (4, 3), axis=0)
    affine(network, "y", "z", "BN", (4, 3))
    model = network.model({"i": (3,)}, {"z": (4, 3)}, check=False)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    folded = fold(model)
    assert operators(folded.model) == ["Gather", "BatchNormalization"]
    assert folded.reasons == [Reason.WRONG_AXIS]
    assert_equal_for_indices(folded, (3,))


def assert_equal_for_indices(folded, shape):
    i = np.random.default_rng(0).integers(-9, 9, size=shape)
    (before,), (after,) = (session(model).run(None, {"i": i}) for model in (folded.original, folded.model))
    assert before.shape == after.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_others_read(kind):
    """Weight tying: the table is also the last layer's weight, and that must not change."""
    network = Network()
    network.node("Gather", [network.weight("table", 9, 4), "i"], "rows")
    affine(network, "rows", "y", kind, (3, 4))
    network.node("Gemm", ["y", "table"], "logits", transB=1)
    model = network.model({"i": (3,)}, {"logits": (3, 9)}, check=False)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    folded = fold(model)
    assert operators(folded.model) == ["Gather", "Gemm"]
    assert sorted(initializer_shapes(folded.model).values()) == [(9, 4), (9, 4)]
    assert_equal_for_indices(folded, (3,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_constant_on_the_left(rank, kind):
    """W x: its rows make the last axis but one, and a shift costs an Add."""
    network = Network()
    network.node("MatMul", [network.weight("w", 4, 3), "x"], "start")
    inputs = {"x": (2, 5, 3, 6)[-rank:]}
    kind = kind if rank == 3 else kind.replace("BN", "Mul")
    affine(network, "start", "y", kind, (2, 5, 4, 6)[-rank:], axis=rank - 2)
    model = network.model(inputs, ["y"])
    if kind == "Add":
        assert_stuck(model, Reason.NO_BIAS, "y", "start")
    else:
        assert_moves(model, "MatMul", *(["Add"] if kind == "BN" else []), direction="upstream")


def test_columns_of_a_constant_on_the_left_stay():
    network = Network()
    network.node("MatMul", [network.weight("w", 4, 3), "x"], "start")
    affine(network, "start", "y", "BN", (4, 6))
    assert_stuck(network.model({"x": (3, 6)}, ["y"]), Reason.WRONG_AXIS, "y", "start")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_groups_behind_a_pool(op_type, groups, kind):
    network = Network()
    shape = (8, 4 // groups, 3, 3) if op_type == "Conv" else (4, 8 // groups, 3, 3)
    network.node(op_type, ["x", network.weight("w", *shape)], "start", group=groups, pads=[1, 1, 1, 1])
    network.node("AveragePool", ["start"], "pool", kernel_shape=[2, 2])
    folded_behind(network, "pool", kind, {"x": (2, 4, 6, 5)}, op_type, "AveragePool")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemm_behind_a_split(trans_a, trans_b, kind):
    network = Network()
    weight = network.weight("w", *((6, 3) if trans_b else (3, 6)))
    network.node("Gemm", ["x", weight], "start", transA=trans_a, transB=trans_b, alpha=0.7)
    network.node("Split", ["start"], ["v0", "v1"], axis=-1)
    affine(network, "v1", "y", kind, (5, 3))
    model = network.model({"x": (3, 5) if trans_a else (5, 3)}, ["y", "v0"])
    assert_moves(model, "Gemm", "Split", direction="upstream")


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_nothing_passes_a_recurrent_operator_upwards(op_type):
    network = Network()
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    network.node(
        op_type, ["x", network.weight("w", 1, gates * 5, 3), network.weight("r", 1, gates * 5, 5)], "h", hidden_size=5
    )
    affine(network, "h", "y", "BN", (6, 1, 2, 5))
    assert_stuck(network.model({"x": (6, 2, 3)}, ["y"]), Reason.NOT_LINEAR, "y", "h", evidence="not linear: gates")


@pytest.mark.parametrize("name", ["start", "pool", "turned"])
def test_an_output_in_the_middle_of_the_path(name):
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("AveragePool", ["start"], "pool", kernel_shape=[2, 2])
    network.node("Neg", ["pool"], "turned")
    affine(network, "turned", "y", "BN", (2, 4, 5, 3))
    model = network.model({"x": (2, 3, 6, 4)}, ["y", name])
    path = {"start": ("y", "turned", "pool", "start"), "pool": ("y", "turned", "pool"), "turned": ("y", "turned")}[name]
    folded = fold(model)
    assert folded.folds == ()
    refusal = folded.kept[0].refusals[0]
    assert (refusal.reason, refusal.path) == (Reason.GRAPH_OUTPUT, tuple(f"{entry}_node" for entry in path))
    assert refusal.evidence == f"{name!r} is an output of graph"


@pytest.mark.parametrize("name", ["start", "pool"])
def test_a_capture_in_the_middle_of_the_path(name):
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("AveragePool", ["start"], "pool", kernel_shape=[1, 1])
    affine(network, "pool", "y", "BN", (2, 4, 6, 4))
    bodies = {
        key: helper.make_graph(
            [helper.make_node(op, [name], [f"{key}_out"], name=f"{key}_node")],
            key,
            [],
            [helper.make_tensor_value_info(f"{key}_out", TensorProto.FLOAT, (2, 4, 6, 4))],
        )
        for key, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    network.constant("condition", True, "bool")
    network.node("If", ["condition"], "other", **bodies)
    model = network.model({"x": (2, 3, 6, 4)}, {"y": (2, 4, 6, 4), "other": (2, 4, 6, 4)})
    folded = fold_and_compare(model)
    assert folded.reasons == [Reason.CAPTURED]
    path = ("y_node", "pool_node", "start_node")
    assert folded.kept[0].refusals[0].path == path[: 3 if name == "start" else 2]


def test_names_follow_the_values():
    """The Conv's output changes and gets a new name; the last tensor keeps its name, as it keeps its values."""
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Neg", ["start"], "turned")
    network.node("AveragePool", ["turned"], "pool", kernel_shape=[2, 2])
    affine(network, "pool", "normal", "BN", (2, 4, 5, 3))
    network.node("Sigmoid", ["normal"], "y")
    folded = assert_moves(network.model({"x": (2, 3, 6, 4)}, ["y"]), "Conv", "Neg", "AveragePool", "Sigmoid")
    assert [list(node.output) for node in folded.model.graph.node] == [
        ["start_folded"],
        ["turned_folded"],
        ["normal"],
        ["y"],
    ]


def test_a_new_name_never_collides():
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Neg", ["start"], "turned")
    affine(network, "turned", "normal", "BN", (2, 4, 6, 4))
    network.node("Sigmoid", ["normal"], "start_folded")
    network.node("Sigmoid", ["x"], "start_folded_2")
    model = network.model({"x": (2, 3, 6, 4)}, ["start_folded", "start_folded_2"])
    folded = assert_moves(model, "Conv", "Neg", "Sigmoid", "Sigmoid")
    assert folded.model.graph.node[0].output[0] == "start_folded_3"


def test_declared_shapes_follow_the_names():
    """value_info of a tensor that is gone goes too, and that of a renamed one is renamed."""
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Neg", ["start"], "turned")
    affine(network, "turned", "y", "BN", (2, 4, 6, 4))
    model = onnx.shape_inference.infer_shapes(network.model({"x": (2, 3, 6, 4)}, ["y"]))
    assert {entry.name for entry in model.graph.value_info} == {"start", "turned"}
    folded = assert_moves(model, "Conv", "Neg")
    assert {entry.name for entry in folded.model.graph.value_info} == {"start_folded"}


@pytest.mark.parametrize("steps_between", [0, 3])
def test_a_long_way_costs_nothing(steps_between):
    """MatMul of rank 3 has no bias: a BatchNorm becomes one Add, never two."""
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, 4)], "start")
    value = "start"
    for number in range(steps_between):
        value = step("Identity").add(network, value, f"v{number}")
    network.node("Transpose", [value], "turned", perm=[0, 2, 1])
    affine(network, "turned", "y", "BN", (2, 4, 5))
    model = network.model({"x": (2, 5, 3)}, ["y"])
    folded = assert_moves(model, "MatMul", "Add", *["Identity"] * steps_between, "Transpose")
    assert len(folded.model.graph.node) == len(model.graph.node)


def test_two_products_would_cost_two_additions():
    """A BatchNorm behind the concatenation of two rank 3 products: two Adds are more than what goes."""
    network = Network()
    for number in range(2):
        network.node("MatMul", ["x", network.weight(f"w{number}", 3, 4)], f"b{number}")
    network.node("Concat", ["b0", "b1"], "joined", axis=2)
    network.node("Transpose", ["joined"], "turned", perm=[0, 2, 1])
    affine(network, "turned", "y", "BN", (2, 8, 5))
    model = network.model({"x": (2, 5, 3)}, ["y"])
    assert_stuck(model, Reason.NO_BIAS, "y", "b1", evidence="2 nodes would cost")
