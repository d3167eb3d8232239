"""Gemm: alpha * A' * B' + beta * C. beta scales the old bias and must not scale the new one."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, initializer_shapes

ROWS, INNER, COLUMNS = 5, 3, 4
SHAPES_OF_C = {
    "absent": None,
    "()": (),
    "(1,)": (1,),
    "(N,)": (COLUMNS,),
    "(1, 1)": (1, 1),
    "(1, N)": (1, COLUMNS),
    "(M, 1)": (ROWS, 1),
    "(M, N)": (ROWS, COLUMNS),
}


def gemm_network(shape_of_c=(COLUMNS,), opset=17, **attributes):
    network = Network(opset=opset)
    weight = (COLUMNS, INNER) if attributes.get("transB") else (INNER, COLUMNS)
    inputs = ["x", network.weight("weight", *weight)]
    inputs += [] if shape_of_c is None else [network.weight("bias", *shape_of_c)]
    network.node("Gemm", inputs, "g", **attributes)
    return network


def inputs_of(attributes):
    return {"x": (INNER, ROWS) if attributes.get("transA") else (ROWS, INNER)}


@pytest.mark.parametrize("shape_of_c", SHAPES_OF_C)
@pytest.mark.parametrize("alpha", [None, 0.3, -2.0])
@pytest.mark.parametrize("beta", [None, 0.0, 0.5, -1.5])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)], ids=["AB", "A'B", "AB'", "A'B'"])
def test_grid(shape_of_c, alpha, beta, transposed):
    given = {"transA": transposed[0], "transB": transposed[1], "alpha": alpha, "beta": beta}
    attributes = {name: value for name, value in given.items() if value}
    if beta == 0.0:
        attributes["beta"] = 0.0
    network = gemm_network(SHAPES_OF_C[shape_of_c], **attributes)
    network.batch_norm("g", "y", COLUMNS)
    folded = assert_folds_to(network.model(inputs_of(attributes), ["y"]), "Gemm")
    (gemm,) = folded.model.graph.node
    after = {entry.name: helper.get_attribute_value(entry) for entry in gemm.attribute}
    assert after == {name: 1.0 if name in ("alpha", "beta") else value for name, value in attributes.items()}


@pytest.mark.parametrize("shape_of_c", SHAPES_OF_C)
@pytest.mark.parametrize("op", ["Mul", "Div", "Add", "Sub"])
@pytest.mark.parametrize("shape", [(), (1,), (COLUMNS,), (1, COLUMNS), (1, 1)], ids=str)
def test_one_constant_behind_every_shape_of_c(shape_of_c, op, shape):
    network = gemm_network(SHAPES_OF_C[shape_of_c], beta=0.5)
    network.node(op, ["g", network.weight("constant", *shape)], "y")
    assert_folds_to(network.model(inputs_of({}), ["y"]), "Gemm")


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 22])
@pytest.mark.parametrize("shape_of_c", [name for name in SHAPES_OF_C if name != "absent"])
def test_versions(opset, shape_of_c):
    network = gemm_network(SHAPES_OF_C[shape_of_c], opset=opset, alpha=0.5, beta=2.0, transB=1)
    network.batch_norm("g", "y", COLUMNS)
    assert_folds_to(network.model(inputs_of({}), ["y"]), "Gemm")


def test_a_bias_that_beta_hides_stays_hidden():
    network = gemm_network((COLUMNS,), beta=0.0)
    network.node("Mul", ["g", network.weight("constant", COLUMNS)], "y")
    folded = assert_folds_to(network.model(inputs_of({}), ["y"]), "Gemm")
    bias = next(tensor for tensor in folded.model.graph.initializer if tensor.name == "bias")
    assert np.array_equal(numpy_helper.to_array(bias), np.zeros(COLUMNS))


def test_a_new_bias_is_a_vector_named_after_the_weight():
    network = gemm_network(None)
    network.batch_norm("g", "y", COLUMNS)
    folded = assert_folds_to(network.model({"x": ("rows", INNER)}, ["y"]), "Gemm")
    assert initializer_shapes(folded.model) == {"weight": (INNER, COLUMNS), "bias": (COLUMNS,)}


def test_a_map_over_the_rows_stays():
    network = gemm_network()
    network.node("Mul", ["g", network.weight("constant", ROWS, 1)], "m")
    network.batch_norm("m", "y", COLUMNS)
    folded = assert_folds_to(network.model(inputs_of({}), ["y"]), "Gemm", "Mul", "BatchNormalization")
    mul, batch_norm = folded.kept
    assert mul.refusals[0].reason is Reason.WRONG_AXIS
    assert mul.refusals[0].evidence == "the map varies along axis 0, the output channels are on axis 1"
    assert batch_norm.refusals[0].reason is Reason.SHIFT_CANNOT_PASS


@pytest.mark.parametrize("slot", [1, 2], ids=["B", "C"])
def test_what_the_caller_gives_does_not_fold(slot):
    network = Network()
    parameters = {1: network.weight("weight", INNER, COLUMNS), 2: network.weight("bias", COLUMNS)}
    shape = network.initializers.pop(parameters[slot]).shape
    network.node("Gemm", ["x", *parameters.values()], "g")
    network.batch_norm("g", "y", COLUMNS)
    model = network.model({"x": (ROWS, INNER), parameters[slot]: shape}, ["y"])
    reason = {1: Reason.DYNAMIC_WEIGHT, 2: Reason.DYNAMIC_BIAS}[slot]
    assert_stays(model, reason, f"{parameters[slot]!r} is an input of graph")


@pytest.mark.parametrize("shape_of_c", [(), (1,), (4,), (1, 4), (2, 4)], ids=str)
def test_a_bias_that_does_not_count_is_gone_with_the_product_behind(shape_of_c):
    """With beta 0 there is none; the two products become one, whose C is 0 and as wide as the new result."""
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 6, 4), network.weight("c", *shape_of_c)], "g", alpha=0.5, beta=0.0)
    network.node("MatMul", ["g", network.weight("v", 4, 3)], "y")
    folded = fold_and_compare(network.model({"x": (2, 6)}, ["y"]), merge=True)
    assert [node.op_type for node in folded.model.graph.node] == ["Gemm"]
