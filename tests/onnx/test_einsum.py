"""Einsum with a constant matrix, on both sides of it."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network


@pytest.mark.parametrize(
    ("equation", "weight", "activation", "constant_first"),
    [
        ("bchw,oc->bohw", (4, 3), (2, 3, 5, 5), False),
        ("bchw,co->bohw", (3, 4), (2, 3, 5, 5), False),
        ("oc, bchw -> bohw", (4, 3), (2, 3, 5, 5), True),
        ("bc,oc->bo", (3, 3), (2, 3), False),
        ("bc,co->bo", (3, 3), (2, 3), False),
    ],
)
def test_output_side(equation, weight, activation, constant_first):
    network = Network()
    operands = ["x", network.weight("w", *weight)]
    network.node("Einsum", operands[::-1] if constant_first else operands, "e", equation=equation)
    network.batch_norm("e", "y", 4 if 4 in weight else 3)
    folded = fold_and_compare(network.model({"x": activation}, ["y"]))
    assert [node.op_type for node in folded.model.graph.node] == ["Einsum", "Add"]


def test_input_side():
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node("Einsum", ["n", network.weight("w", 4, 3)], "y", equation="bchw,oc->bohw")
    folded = fold_and_compare(network.model({"x": (2, 3, 5, 5)}, ["y"]))
    assert folded.batch_norms_left == 0


@pytest.mark.parametrize("equation", ["bchw,hc->bchw", "bcc,oc->bo", "bchw,oc->bhwo"])
def test_other_equations_keep_what_they_must(equation):
    network = Network()
    activation = (2, 3, 3) if equation.startswith("bcc") else (2, 3, 3, 3)
    network.node("Einsum", ["x", network.weight("w", 3, 3)], "e", equation=equation)
    network.batch_norm("e", "y", 3)
    shape = {"bcc,oc->bo": (2, 3)}.get(equation, (2, 3, 3, 3))
    folded = fold(network.model({"x": activation}, {"y": shape}))
    assert folded.reasons == [Reason.WRONG_AXIS]
