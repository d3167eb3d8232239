"""What ends a path downstream: convolutions, products, recurrent operators at their input side, all readers at once."""

import numpy as np
import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_names_hold, assert_stuck, conv, step

IMAGE = (2, 4, 6, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions(kernel, bias, groups, kind):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    names = ["normal", network.weight("w", 8, 4 // groups, kernel, kernel), *([network.weight("b", 8)] if bias else [])]
    network.node("Conv", names, "y", group=groups, strides=[2, 1], dilations=[1, 2])
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_depthwise_convolutions(rank, multiplier, kind):
    network = Network()
    shape = (2, 4, 6, 5, 3)[:rank]
    affine(network, "x", "normal", kind, shape)
    network.node("Conv", ["normal", network.weight("w", 4 * multiplier, 1, *(2,) * (rank - 2))], "y", group=4)
    assert_moves(network.model({"x": shape}, ["y"]), "Conv", direction="downstream")


PADDED = [
    {"pads": [1, 1, 1, 1]},
    {"pads": [0, 0, 0, 1]},
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attributes", PADDED, ids=str)
@pytest.mark.parametrize("groups", [1, 4])
def test_zero_padding_takes_a_scale_alone(attributes, groups, kind):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    conv(network, "normal", "y", 4 // groups, 4, kernel=3, group=groups, **attributes)
    model = network.model({"x": IMAGE}, ["y"])
    if kind == "Mul":
        assert_moves(model, "Conv", direction="downstream")
    else:
        assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "normal", "y", downstream=True, evidence="zeros are padded")


@pytest.mark.parametrize("attributes", [{"auto_pad": "VALID"}, {"pads": [0, 0, 0, 0]}], ids=str)
def test_padding_in_name_only(attributes):
    network = Network()
    affine(network, "x", "normal", "BN", IMAGE)
    conv(network, "normal", "y", 4, 3, kernel=3, **attributes)
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", direction="downstream")


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_of_one_place_pads_nothing(stride, auto_pad):
    network = Network()
    affine(network, "x", "normal", "BN", IMAGE)
    conv(network, "normal", "y", 4, 3, kernel=1, auto_pad=auto_pad, strides=[stride, stride])
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (1, {}),
        (1, {"strides": [1, 1], "dilations": [2, 2]}),
        (1, {"strides": [2, 1]}),
        (1, {"pads": [1, 0, 0, 0]}),
        (1, {"output_padding": [1, 0], "strides": [2, 2]}),
        (3, {}),
        (2, {"strides": [2, 2]}),
        (3, {"pads": [1, 1, 1, 1]}),
    ],
    ids=str,
)
def test_transposed_convolutions(kernel, attributes, groups, kind):
    """Every place of the output sees the whole kernel only where that has one place, and no stride spreads it."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    inputs = ["normal", network.weight("w", 4, 3, kernel, kernel), network.weight("b", 3 * groups)]
    network.node("ConvTranspose", inputs, "y", group=groups, **attributes)
    model = network.model({"x": IMAGE}, ["y"])
    whole = kernel == 1 and not {"pads", "output_padding"} & attributes.keys() and attributes.get("strides") != [2, 1]
    if kind == "Mul" or whole:
        assert_moves(model, "ConvTranspose", direction="downstream")
    else:
        assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "normal", "y", downstream=True, evidence="parts of the kernel")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("shape_of_c", [None, (), (1,), (3,), (1, 3), (5, 1), (5, 3)], ids=str)
def test_gemm(shape_of_c, trans_b, kind):
    network = Network()
    affine(network, "x", "normal", kind, (5, 4))
    inputs = ["normal", network.weight("w", *((3, 4) if trans_b else (4, 3)))]
    inputs += [] if shape_of_c is None else [network.weight("c", *shape_of_c)]
    network.node("Gemm", inputs, "y", transB=trans_b, alpha=-0.7, beta=0.3)
    assert_moves(network.model({"x": (5, 4)}, ["y"]), "Gemm", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
def test_gemm_of_a_transposed_input(kind):
    """The columns of x are the rows of y: only a map over the rows of x can go into the weight."""
    for axis in (0, 1):
        network = Network()
        map_kind = kind if axis == 1 else kind.replace("BN", "Mul")
        affine(network, "x", "normal", map_kind, (4, 5), axis=axis)
        network.node("Gemm", ["normal", network.weight("w", 4, 3)], "y", transA=1)
        model = network.model({"x": (4, 5)}, ["y"])
        if axis == 0:
            assert_moves(model, "Gemm", direction="downstream")
        else:
            assert_stuck(model, Reason.WRONG_AXIS, "normal", "y", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_products(rank, kind):
    network = Network()
    shape = (2, 5, 6, 4)[-rank:]
    affine(network, "x", "normal", kind if rank == 2 else kind.replace("BN", "Mul"), shape, axis=rank - 1)
    network.node("MatMul", ["normal", network.weight("w", 4, 3)], "y")
    model = network.model({"x": shape}, ["y"])
    if rank > 2 and kind == "Add":
        assert_stuck(model, Reason.NO_BIAS, "normal", "y", downstream=True)
    else:
        expected = "MatMul" if kind == "Mul" or rank > 2 else "Gemm"
        assert_moves(model, expected, direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_constant_on_the_left(rank, kind):
    """W x mixes the last axis but one."""
    network = Network()
    shape = (2, 5, 4, 6)[-rank:]
    affine(network, "x", "normal", kind if rank == 3 else kind.replace("BN", "Mul"), shape, axis=rank - 2)
    network.node("MatMul", [network.weight("w", 3, 4), "normal"], "y")
    model = network.model({"x": shape}, ["y"])
    if kind == "Add":
        assert_stuck(model, Reason.NO_BIAS, "normal", "y", downstream=True)
    else:
        assert_moves(model, "MatMul", *(["Add"] if kind == "BN" and rank == 3 else []), direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slot", [0, 1])
def test_products_along_the_other_axis(slot, kind):
    network = Network()
    affine(network, "x", "normal", kind.replace("BN", "Mul"), (5, 5), axis=slot)
    weight = network.weight("w", 5, 5)
    network.node("MatMul", ["normal", weight] if slot == 0 else [weight, "normal"], "y")
    assert_stuck(network.model({"x": (5, 5)}, ["y"]), Reason.WRONG_AXIS, "normal", "y", downstream=True)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(network, op_type, source, *, directions=1, bias=True, inputs=4, hidden=5, **attributes):
    gates = GATES[op_type] * hidden
    names = [source, network.weight("w", directions, gates, inputs), network.weight("r", directions, gates, hidden)]
    names += [network.weight("b", directions, 2 * gates)] if bias else []
    direction = "bidirectional" if directions == 2 else attributes.pop("direction", "forward")
    network.node(op_type, names, "y", hidden_size=hidden, direction=direction, **attributes)
    return network


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("op_type", GATES)
def test_recurrent_operators_behind_a_transpose(op_type, directions, bias, kind):
    """CRNN: BatchNorm over (batch, features, time), then to (time, batch, features)."""
    network = Network()
    affine(network, "x", "normal", kind, (2, 4, 6))
    network.node("Transpose", ["normal"], "v0", perm=[2, 0, 1])
    recurrent(network, op_type, "v0", directions=directions, bias=bias)
    assert_moves(network.model({"x": (2, 4, 6)}, ["y"]), "Transpose", op_type, direction="downstream")


@pytest.mark.parametrize("kind", ["Mul", "Add"])
@pytest.mark.parametrize("opset", [7, 14, 22])
@pytest.mark.parametrize("op_type", GATES)
def test_recurrent_operators_over_the_last_axis(op_type, opset, kind):
    network = Network(opset=opset)
    affine(network, "x", "normal", kind, (6, 2, 4), axis=2)
    recurrent(network, op_type, "normal", direction="reverse")
    assert_moves(network.model({"x": (6, 2, 4)}, ["y"]), op_type, direction="downstream")


@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_the_reset_of_a_gru(linear_before_reset, bias):
    network = Network()
    affine(network, "x", "normal", "Add", (6, 2, 4), axis=2)
    recurrent(network, "GRU", "normal", bias=bias, linear_before_reset=linear_before_reset)
    assert_moves(network.model({"x": (6, 2, 4)}, ["y"]), "GRU", direction="downstream")


@pytest.mark.parametrize("op_type", GATES)
def test_recurrent_operators_refuse_maps_over_time_and_batch(op_type):
    for kind, axis in (("BN", 1), ("Mul", 0)):
        network = Network()
        affine(network, "x", "normal", kind, (6, 4, 4), axis=axis)
        recurrent(network, op_type, "normal")
        model = network.model({"x": (6, 4, 4)}, ["y"])
        assert_stuck(model, Reason.WRONG_AXIS, "normal", "y", downstream=True)


def test_the_state_of_a_recurrent_operator_is_no_input():
    network = Network()
    affine(network, "h", "normal", "Mul", (1, 2, 5), axis=2)
    recurrent(network, "GRU", "x")
    network.nodes[-1].input.extend(["", "normal"])
    model = network.model({"x": (6, 2, 4), "h": (1, 2, 5)}, ["y"])
    assert_stuck(model, Reason.NOT_LINEAR, "normal", "y", downstream=True, evidence="one of its parameters")


def projections(network, count, *, kind="BN", last="Gemm"):
    affine(network, "x", "normal", kind, (5, 4))
    for number in range(count - 1):
        network.node("Gemm", ["normal", network.weight(f"w{number}", 4, 3)], f"y{number}")
    if last == "Gemm":
        network.node("Gemm", ["normal", network.weight("last", 4, 3)], f"y{count - 1}")
    else:
        network.node(last, ["normal"], f"y{count - 1}")
    return network.model({"x": (5, 4)}, [f"y{number}" for number in range(count)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_queries_keys_and_values(count, kind):
    folded = assert_moves(projections(Network(), count, kind=kind), *["Gemm"] * count, direction="downstream")
    assert len(folded.folds[0].into) == count


@pytest.mark.parametrize("kind", KINDS)
def test_one_reader_that_cannot_absorb_stops_all(kind):
    model = projections(Network(), 3, kind=kind, last="Sigmoid")
    assert_stuck(model, Reason.NOT_LINEAR, "normal", "y2", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
def test_readers_that_share_a_weight(kind):
    """One weight for a reader with the BatchNorm in front and for one without."""
    network = Network()
    affine(network, "x", "normal", kind, (5, 4))
    network.weight("w", 4, 3)
    network.node("Gemm", ["normal", "w"], "y")
    network.node("Gemm", ["x", "w"], "z")
    assert_moves(network.model({"x": (5, 4)}, ["y", "z"]), "Gemm", "Gemm", direction="downstream")


def test_three_products_of_rank_3_would_need_three_additions():
    network = Network()
    affine(network, "x", "normal", "BN", (2, 4, 5))
    network.node("Transpose", ["normal"], "v0", perm=[0, 2, 1])
    for name in ("q", "k", "v"):
        network.node("MatMul", ["v0", network.weight(f"w{name}", 4, 3)], name)
    model = network.model({"x": (2, 4, 5)}, ["q", "k", "v"])
    assert_stuck(model, Reason.NO_BIAS, "normal", "q", downstream=True, evidence="3 nodes")


@pytest.mark.parametrize("where", ["normal", "v0"])
def test_an_output_on_the_path(where):
    network = Network()
    affine(network, "x", "normal", "BN", IMAGE)
    network.node("Neg", ["normal"], "v0")
    conv(network, "v0", "y", 4, 3)
    model = network.model({"x": IMAGE}, ["y", where])
    path = ("normal",) if where == "normal" else ("normal", "v0")
    assert_stuck(model, Reason.GRAPH_OUTPUT, *path, downstream=True)


@pytest.mark.parametrize("kind", ["BN+", "Mul+"])
def test_a_mixed_plan(kind):
    """Conv -- Relu -- BatchNorm -- Conv: the scale goes up through the Relu, the shift down into the bias."""
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Relu", ["start"], "bent")
    affine(network, "bent", "normal", kind, IMAGE)
    conv(network, "normal", "y", 4, 3)
    folded = assert_moves(network.model({"x": (2, 3, 6, 5)}, ["y"]), "Conv", "Relu", "Conv")
    assert [entry.direction for entry in folded.folds] == ["downstream" if kind == "BN+" else "upstream"]


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_mixed_plan_where_neither_direction_takes_all(kernel):
    """Behind the BatchNorm, a product with another tensor's sum takes the shift, but no scale."""
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Relu", ["start"], "bent")
    affine(network, "bent", "normal", "BN+", IMAGE)
    network.node("Add", ["normal", "z"], "joined")
    conv(network, "joined", "y", 4, 3, kernel=kernel)
    model = network.model({"x": (2, 3, 6, 5), "z": IMAGE}, ["y"])
    folded = assert_moves(model, "Conv", "Relu", "Add", "Conv", direction="both")
    assert set(folded.folds[0].into) == {"start_node", "y_node"}
    made = [node.output[0] for node in folded.model.graph.node]
    assert "bent" not in made
    assert "normal" not in made
    assert "joined" not in made


@pytest.mark.parametrize("problem", ["padding", "negative scale", "output", "two readers"])
def test_a_mixed_plan_needs_both_ends(problem):
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Relu", ["start"], "bent")
    affine(network, "bent", "normal", "BN" if problem == "negative scale" else "BN+", IMAGE)
    network.node("Add", ["normal", "z"], "joined")
    conv(network, "joined", "y", 4, 3, kernel=3, **({"pads": [1, 1, 1, 1]} if problem == "padding" else {}))
    if problem == "two readers":
        network.node("Sigmoid", ["bent"], "other")
    outputs = ["y", *{"output": ["joined"], "two readers": ["other"]}.get(problem, [])]
    model = network.model({"x": (2, 3, 6, 5), "z": IMAGE}, outputs)
    folded = fold_and_compare(model)
    assert folded.folds == ()
    assert folded.model.SerializeToString() == model.SerializeToString()
    expected = {
        "padding": [Reason.SHIFT_CANNOT_PASS, Reason.SHIFT_CANNOT_PASS],
        "negative scale": [Reason.NEEDS_NON_NEGATIVE_SCALE, Reason.OTHER_BRANCH, Reason.SHIFT_CANNOT_PASS],
        "output": [Reason.SHIFT_CANNOT_PASS, Reason.GRAPH_OUTPUT],
        "two readers": [Reason.OTHER_CONSUMERS, Reason.OTHER_BRANCH, Reason.GRAPH_INPUT],
    }[problem]
    assert [refusal.reason for refusal in folded.kept[0].refusals] == expected


def test_a_captured_tensor_stays():
    network = Network()
    affine(network, "x", "normal", "BN", IMAGE)
    network.node("Neg", ["normal"], "v0")
    conv(network, "v0", "y", 4, 3)
    network.constant("condition", True, "bool")
    bodies = {
        key: helper.make_graph(
            [helper.make_node("Abs", ["v0"], [f"{key}_out"], name=f"{key}_node")],
            key,
            [],
            [helper.make_tensor_value_info(f"{key}_out", 1, IMAGE)],
        )
        for key in ("then_branch", "else_branch")
    }
    network.node("If", ["condition"], "other", **bodies)
    model = network.model({"x": IMAGE}, {"y": (2, 3, 6, 5), "other": IMAGE})
    assert_stuck(model, Reason.CAPTURED, "normal", "v0", downstream=True)


def test_dense_blocks():
    """Two layers of a dense block without activations: each BatchNorm reads what all layers before it made."""
    network = Network()
    conv(network, "x", "c0", 3, 4)
    affine(network, "c0", "n0", "BN", IMAGE)
    conv(network, "n0", "c1", 4, 2, kernel=3, pads=[1, 1, 1, 1])
    network.node("Concat", ["c0", "c1"], "j1", axis=1)
    affine(network, "j1", "n1", "BN", (2, 6, 6, 5))
    conv(network, "n1", "c2", 6, 2)
    network.node("Concat", ["j1", "c2"], "j2", axis=1)
    affine(network, "j2", "n2", "BN", (2, 8, 6, 5))
    network.node("GlobalAveragePool", ["n2"], "pooled")
    network.node("Flatten", ["pooled"], "flat")
    network.node("Gemm", ["flat", network.weight("w", 8, 3)], "y")
    folded = fold_and_compare(network.model({"x": (2, 3, 6, 5)}, ["y"]))
    assert [(entry.node, entry.direction) for entry in folded.folds] == [
        ("n1_node", "downstream"),
        ("n2_node", "downstream"),
    ]
    (kept,) = folded.kept
    first, *others = (refusal.reason for refusal in kept.refusals)
    assert (first, set(others)) == (Reason.OTHER_CONSUMERS, {Reason.SHIFT_CANNOT_PASS})
    assert_names_hold(folded)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_precision(dtype):
    network = Network()
    affine(network, "x", "normal", "BN", (5, 4), dtype=dtype)
    network.constant("normal.var", np.linspace(0.5, 2, 4), dtype)
    step("Identity").add(network, "normal", "v0")
    weights = [network.weight("w", 4, 3, dtype=dtype), network.weight("b", 3, dtype=dtype)]
    network.node("Gemm", ["v0", *weights], "y")
    folded = assert_moves(network.model({"x": (5, 4)}, ["y"], dtype=dtype), "Identity", "Gemm")
    assert {tensor.data_type for tensor in folded.model.graph.initializer} == {1 if dtype == "float32" else 10}


def test_never_more_nodes():
    """Whatever folds, the graph does not grow; here one BatchNorm becomes one Add, and that Add is no candidate."""
    network = Network()
    affine(network, "x", "normal", "BN", (2, 4, 5))
    network.node("Transpose", ["normal"], "v0", perm=[0, 2, 1])
    network.node("MatMul", ["v0", network.weight("w", 4, 3)], "y")
    model = network.model({"x": (2, 4, 5)}, ["y"])
    folded = fold(model)
    assert operators(folded.model) == ["Transpose", "MatMul", "Add"]
    again = fold(folded.model)
    assert again.folds == ()
    assert again.model.SerializeToString() == folded.model.SerializeToString()
