"""Rows that sum to 1, because a softmax makes them: whatever stands between it and what it weighs."""

import pytest

from tests.networks import Network
from tests.onnx.test_attention import TOKENS, X, left, project, shifted


def weighed(network, *between):
    """A map of the features behind values that a softmax weighs, with nodes in between."""
    q, k, v = (project(network, "x", name, bias=True) for name in "qkv")
    turned = network.node("Transpose", [k], "k.t", perm=[0, 2, 1])
    network.node("Softmax", [network.node("MatMul", [q, turned], "scores")], "weights", axis=-1)
    last = "weights"
    for place, (op_type, constants, attributes) in enumerate(between):
        last = network.node(op_type, [last, *constants], f"w{place}", **attributes)
    network.node("MatMul", [last, v], "o")
    return shifted(network, "o", "y")


FLOAT, DOUBLE = 1, 11
BETWEEN = {
    "identity": [("Identity", [], {})],
    "dropout": [("Dropout", [], {})],
    "there and back": [("Cast", [], {"to": DOUBLE}), ("Cast", [], {"to": FLOAT})],
    "another shape": [("Reshape", ["apart"], {}), ("Reshape", ["back"], {})],
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN.keys())
def test_rows_sum_to_one_in_another_type_and_under_another_shape(between):
    network = Network()
    network.constant("apart", [2 * TOKENS, TOKENS], "int64")
    network.constant("back", [2, TOKENS, TOKENS], "int64")
    weighed(network, *between)
    assert left(network.model({"x": X}, ["y"]))[-1] == "MatMul"


INT32 = 6
OTHERS = {
    "another shape": [("Reshape", ["apart"], {}), ("Reshape", ["back"], {})],
    "relu": [("Relu", [], {})],
    "integers": [("Cast", [], {"to": INT32}), ("Cast", [], {"to": FLOAT})],
}


@pytest.mark.parametrize("between", OTHERS.values(), ids=OTHERS.keys())
def test_rows_of_which_another_shape_makes_others_need_not_sum_to_one(between):
    network = Network()
    network.constant("apart", [2, TOKENS * TOKENS], "int64")
    network.constant("back", [2, TOKENS, TOKENS], "int64")
    weighed(network, *between)
    assert left(network.model({"x": X}, ["y"]))[-1] == "Add"
