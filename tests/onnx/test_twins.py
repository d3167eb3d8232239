"""Two readers of a tensor that want the same map get it from one node, and so it can fold in front of both."""

import numpy as np
import pytest

from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators

SHAPE = [2, 3, 4, 4]


def two_branches(first, second, *, outputs=("y", "z"), **model):
    """Conv -> (Mul -> Relu, Mul -> Sigmoid), with these constants."""
    network = Network(**model)
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.node("Mul", ["c", network.constant("k", first)], "m")
    network.node("Mul", [network.constant("q", second), "c"], "n")
    network.node("Relu", ["m"], "y")
    network.node("Sigmoid", ["n"], "z")
    return network, outputs


def test_equal_factors_behind_one_convolution():
    network, outputs = two_branches(np.full((3, 1, 1), -2.0), -2.0)
    folded = fold_and_compare(network.model({"x": SHAPE}, outputs))
    assert operators(folded.model) == ["Conv", "Relu", "Sigmoid"]
    assert sorted((entry.node, entry.direction, entry.into) for entry in folded.folds) == [
        ("m_node", "upstream", ("c_node",)),
        ("n_node", "merged", ("m_node",)),
    ]


def test_factors_that_differ_stay_two():
    network, outputs = two_branches(2.0, [[[2.0]], [[2.0]], [[2.5]]])
    folded = fold_and_compare(network.model({"x": SHAPE}, outputs))
    assert operators(folded.model).count("Mul") == 2


def test_a_twin_that_is_an_output_stays():
    network, outputs = two_branches(2.0, 2.0, outputs=("y", "z", "n"))
    folded = fold_and_compare(network.model({"x": SHAPE}, outputs))
    assert operators(folded.model).count("Mul") >= 1
    assert {entry.direction for entry in folded.folds} <= {"upstream", "downstream"}


def test_equal_batch_norms():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    for name in ("m", "n"):
        network.batch_norm("c", name, 3)
    for key in ("scale", "bias", "mean", "var"):
        network.initializers[f"n.{key}"] = network.initializers[f"m.{key}"]
    network.node("Relu", ["m"], "y")
    network.node("Sigmoid", ["n"], "z")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert operators(folded.model) == ["Conv", "Relu", "Sigmoid"]


def test_three_of_a_kind():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    outputs = []
    for number in range(3):
        network.node("Add", ["c", network.constant(f"k{number}", 0.5)], f"a{number}")
        outputs.append(network.node("Sigmoid", [f"a{number}"], f"y{number}"))
    folded = fold_and_compare(network.model({"x": SHAPE}, outputs))
    assert operators(folded.model) == ["Conv", "Sigmoid", "Sigmoid", "Sigmoid"]


@pytest.mark.parametrize("excluded", ["m_node", "n_node"])
def test_an_excluded_twin_is_left_alone(excluded):
    network, outputs = two_branches(2.0, 2.0)
    model = network.model({"x": SHAPE}, outputs)
    folded = fold(model, exclude=[excluded])
    assert folded.model == model


def test_the_caller_can_replace_neither_constant_afterwards():
    """If only the second of two equal defaults goes, a caller who replaces the first would change both branches."""
    network, outputs = two_branches(2.0, 2.0, ir_version=4, opset=9)
    network.node("Softmax", ["c"], "extra")
    folded = fold_and_compare(network.model({"x": SHAPE}, (*outputs, "extra"), overridable=True))
    assert operators(folded.model).count("Mul") == 1
    assert [entry.name for entry in folded.model.graph.input] == ["x", "w"]
