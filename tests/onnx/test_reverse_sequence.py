"""ReverseSequence: a map that is the same at every place of the sequence passes, on either side."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.kernels import needs_newer_kernels
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_names_hold, assert_stuck

SEQUENCE = (5, 2, 4)


def reverse(network, source, output, **attributes):
    lengths = network.constant(f"{output}.lengths", [2, 1, 0, 2, 1] if attributes else [3, 5], "int64")
    return network.node("ReverseSequence", [source, lengths], output, **attributes)


@needs_newer_kernels
@pytest.mark.parametrize("kind", ["Mul", "Add"])
@pytest.mark.parametrize("attributes", [{}, {"batch_axis": 0, "time_axis": 1}], ids=str)
@pytest.mark.parametrize("opset", [10, 17])
def test_behind_it(opset, attributes, kind):
    network = Network(opset=opset)
    network.node("MatMul", ["x", network.weight("w", 4, 4)], "p")
    network.node("Add", ["p", network.weight("b", 4)], "a")
    affine(network, reverse(network, "a", "r", **attributes), "y", kind, SEQUENCE, axis=2)
    folded = fold_and_compare(network.model({"x": SEQUENCE}, ["y"]))
    assert sorted(operators(folded.model)) == ["Add", "MatMul", "ReverseSequence"]  # one addition, on either side
    assert_names_hold(folded)


@pytest.mark.parametrize("kind", ["Mul", "Add"])
def test_in_front_of_it(kind):
    network = Network()
    affine(network, "x", "n", kind, SEQUENCE, axis=2)
    network.node("MatMul", [reverse(network, "n", "r"), network.weight("w", 4, 3)], "p")
    network.node("Add", ["p", network.weight("b", 3)], "y")
    folded = fold_and_compare(network.model({"x": SEQUENCE}, ["y"]))
    assert operators(folded.model) == ["ReverseSequence", "MatMul", "Add"]
    assert_names_hold(folded)


@pytest.mark.parametrize("kind", KINDS)
def test_along_the_sequence_no_map_may_vary(kind):
    """A BatchNorm whose channels are the places."""
    network = Network()
    network.node("Einsum", ["x", network.weight("w", 2, 2)], "p", equation="abc,bd->adc")
    affine(network, reverse(network, "p", "r", batch_axis=0, time_axis=1), "y", kind, SEQUENCE, axis=1)
    assert_stuck(network.model({"x": SEQUENCE}, ["y"]), Reason.WRONG_AXIS, "y", "r")
