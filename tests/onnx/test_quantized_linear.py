"""Weights of integers that are moved behind their DequantizeLinear, as for linear layers: they stay integers."""

import numpy as np
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators

COLUMNS, INPUTS = 4, 5


def integers(network, *, per_channel=True, dtype="int8", trained=False):
    """A weight as (outputs, inputs), behind a DequantizeLinear; from float through a quantizer where it is trained."""
    cells = (COLUMNS,) if per_channel else ()
    network.constant("ws", network.random.uniform(0.01, 0.02, size=cells))
    zero = 128 if dtype == "uint8" else 0
    network.constant("wz", np.full(cells, zero), dtype)
    if trained:
        network.node("QuantizeLinear", [network.weight("w", COLUMNS, INPUTS), "ws", "wz"], "q", axis=0)
    else:
        network.constant("q", zero + network.random.integers(-100, 101, size=(COLUMNS, INPUTS)), dtype)
    return network.node("DequantizeLinear", ["q", "ws", "wz"], "d", axis=0)


def turned(network, source="d", output="t"):
    return network.node("Transpose", [source], output, perm=[1, 0])


def held(model, kinds=(2, 3)):
    """Weights that are stored as integers."""
    return [tensor for tensor in model.graph.initializer if tensor.data_type in kinds and len(tensor.dims) == 2]


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_batch_norm_behind_a_matrix_product(per_channel, dtype, trained):
    network = Network()
    integers(network, per_channel=per_channel, dtype=dtype, trained=trained)
    network.node("MatMul", ["x", turned(network)], "c")
    network.batch_norm("c", "y", COLUMNS)
    folded = fold_and_compare(network.model({"x": (3, INPUTS)}, ["y"]))
    assert operators(folded.model) == ["DequantizeLinear", "Transpose", "Gemm"]
    (weight,) = held(folded.model)
    assert tuple(weight.dims) == (COLUMNS, INPUTS)


@pytest.mark.parametrize("rank", [2, 3])
def test_with_an_addition(rank):
    network = Network()
    integers(network)
    network.node("MatMul", ["x", turned(network)], "m")
    network.node("Add", [network.weight("b", COLUMNS), "m"], "a")
    network.node("Mul", ["a", network.constant("k", [0.5, -2.0, 0.0, 3.0])], "y")
    folded = fold_and_compare(network.model({"x": (3, INPUTS) if rank == 2 else (2, 3, INPUTS)}, ["y"]))
    expected = ["Gemm"] if rank == 2 else ["MatMul", "Add"]
    assert operators(folded.model) == ["DequantizeLinear", "Transpose", *expected]
    assert len(held(folded.model)) == 1


@pytest.mark.parametrize(
    "moves",
    [
        [("Identity", [], {})],
        [("Transpose", [], {"perm": [1, 0]}), ("Transpose", [], {"perm": [1, 0]})],
        [("Reshape", ["flat"], {}), ("Reshape", ["back"], {})],
        [("Unsqueeze", ["axis"], {}), ("Squeeze", ["axis"], {})],
        [("Flatten", [], {})],
    ],
    ids=lambda moves: " ".join(move[0] for move in moves),
)
def test_other_moves(moves):
    network = Network()
    integers(network)
    for name, values in (("flat", [INPUTS * COLUMNS]), ("back", [COLUMNS, INPUTS]), ("axis", [1])):
        network.constant(name, values, "int64")
    last = "d"
    for place, (op_type, constants, attributes) in enumerate(moves):
        last = network.node(op_type, [last, *constants], f"m{place}", **attributes)
    network.node("Gemm", ["x", last], "c", transB=1)
    network.batch_norm("c", "y", COLUMNS)
    folded = fold_and_compare(network.model({"x": (3, INPUTS)}, ["y"]))
    assert operators(folded.model) == ["DequantizeLinear", *(move[0] for move in moves), "Gemm"]
    assert len(held(folded.model)) == 1


def test_a_kernel_that_was_a_matrix():
    network = Network()
    integers(network)
    network.node("Reshape", ["d", network.constant("shape", [COLUMNS, INPUTS, 1, 1], "int64")], "k")
    network.node("Conv", ["x", "k"], "c")
    network.batch_norm("c", "y", COLUMNS)
    folded = fold_and_compare(network.model({"x": (2, INPUTS, 3, 3)}, ["y"]))
    assert operators(folded.model) == ["DequantizeLinear", "Reshape", "Conv"]


@pytest.mark.parametrize("shared", ["d", "t"])
def test_a_weight_that_others_read_is_made_once_more(shared):
    network = Network()
    integers(network)
    turned(network)
    network.node("MatMul", ["x", "t"], "c")
    network.batch_norm("c", "y", COLUMNS)
    network.node("MatMul", ["x", "t"] if shared == "t" else ["x", turned(network, output="t2")], "e")
    network.node("Softsign", ["e"], "z")
    folded = fold_and_compare(network.model({"x": (3, INPUTS)}, ["y", "z"]))
    assert folded.batch_norms_left == 0
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.model.graph.initializer}
    assert len({node.input[1] for node in folded.model.graph.node if node.op_type == "DequantizeLinear"}) == 2
    assert all(
        scales[node.input[0]].dtype == np.int8 for node in folded.model.graph.node if "Dequantize" in node.op_type
    )


def test_a_map_of_the_inputs_has_no_scales():
    network = Network()
    integers(network)
    network.node("Mul", ["x", network.weight("k", INPUTS)], "m")
    network.node("MatMul", ["m", turned(network)], "y")
    (kept,) = fold(network.model({"x": (3, INPUTS)}, ["y"])).kept
    assert kept.refusals[1].reason is Reason.QUANTIZED


def test_in_front_of_scales_for_each_input_it_has():
    network = Network()
    network.constant("q", network.random.integers(-100, 101, size=(COLUMNS, INPUTS)), "int8")
    network.constant("ws", network.random.uniform(0.01, 0.02, size=INPUTS))
    network.node("DequantizeLinear", ["q", "ws"], "d", axis=1)
    network.node("Mul", ["x", network.weight("k", INPUTS)], "m")
    network.node("MatMul", ["m", turned(network)], "y")
    folded = fold_and_compare(network.model({"x": (3, INPUTS)}, ["y"]))
    assert operators(folded.model) == ["DequantizeLinear", "Transpose", "MatMul"]
