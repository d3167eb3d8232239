"""Scaler of ai.onnx.ml: an affine map that is moved, and that takes other maps."""

import onnx
import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import decode_all, operators

DOMAIN = "ai.onnx.ml"


def scaler(network, source, output, scale, offset):
    given = {} if scale is None else {"scale": scale, "offset": offset}
    return network.node("Scaler", [source], output, domain=DOMAIN, **given)


def model_of(network, shape=(3, 4), outputs=("y",)):
    ranks = [f"d{axis}" for axis in range(len(shape))]
    return network.model({"x": shape}, dict.fromkeys(outputs, ranks), domains={DOMAIN: 3}, check=False)


@pytest.mark.parametrize("opset", [7, 13, 17])
@pytest.mark.parametrize(
    ("scale", "offset"), [([2.0], [0.5]), ([1.0, -2.0, 0.0, 0.25], [0.1, 0.2, 0.3, -4.0])], ids=["one", "each"]
)
@pytest.mark.parametrize("batch", [3, "N"])
def test_in_front_of_a_linear_layer(batch, scale, offset, opset):
    network = Network(opset=opset)
    scaler(network, "x", "s", scale, offset)
    network.node("Gemm", ["s", network.weight("w", 4, 5), network.weight("b", 5)], "y")
    folded = fold_and_compare(model_of(network, (batch, 4)), {"x": (3, 4)})
    assert operators(folded.model) == ["Gemm"]


def test_behind_a_linear_layer():
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 4, 5), network.weight("b", 5)], "g")
    scaler(network, "g", "y", [1.0, -2.0, 0.0, 0.25, 3.0], [0.1, 0.2, 0.3, -4.0, 0.0])
    assert operators(fold_and_compare(model_of(network)).model) == ["Gemm"]


def attributes(model):
    (node,) = [node for node in model.graph.node if node.op_type == "Scaler"]
    return {entry.name: list(entry.floats) for entry in node.attribute}


def with_an_addition_behind(scale):
    network = Network()
    scaler(network, "x", "s", scale, [0.1, 0.2, 0.3, 0.4])
    network.node("Add", ["s", network.constant("a", [1.5, -0.5, 2.0, 1e-3])], "y")
    return model_of(network)


def test_it_takes_a_shift():
    folded = fold_and_compare(with_an_addition_behind([2.0, -1.0, 0.5, 4.0]))
    assert operators(folded.model) == ["Scaler"]
    assert attributes(folded.model)["offset"] == pytest.approx([0.1 - 0.75, 0.2 - 0.5, 0.3 - 4.0, 0.4 - 0.00025])


def test_one_number_for_all_becomes_one_for_each():
    network = Network()
    scaler(network, "x", "s", [2.0], [0.5])
    network.node("Mul", ["s", network.constant("m", [1.0, 2.0, -3.0, 4.0])], "y")
    folded = fold_and_compare(model_of(network))
    assert attributes(folded.model)["scale"] == [2.0, 4.0, -6.0, 8.0]


def test_a_scale_of_zero_has_no_offset_for_a_shift():
    folded = fold(with_an_addition_behind([2.0, -1.0, 0.0, 4.0]))
    assert folded.folds == ()
    (addition,) = [entry for entry in folded.kept if entry.op == "Add"]
    assert addition.refusals[0].reason is Reason.NOT_FINITE


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_one_that_converts_stays(dtype):
    """Its readers are given float32, and would read another type without it."""
    network = Network()
    scaler(network, "x", "s", [2.0], [0.5])
    network.node("Gemm", ["s", network.weight("w", 4, 5)], "y")
    element_type = {"float64": onnx.TensorProto.DOUBLE, "int64": onnx.TensorProto.INT64}[dtype]
    model = model_of(network)
    model.graph.input[0].type.tensor_type.elem_type = element_type
    assert fold(model).folds == ()
    assert decode_all(model)["s"].reason is Reason.NOT_LINEAR


@pytest.mark.parametrize(
    ("scale", "offset", "shape"),
    [(None, None, (3, 4)), ([1.0, 2.0], [1.0, 2.0], (3, 4)), ([1.0], [1.0, 2.0], (3, 4)), ([1.0], [0.0], (3, 4, 5))],
    ids=str,
)
def test_what_contradicts_its_specification(scale, offset, shape):
    network = Network()
    scaler(network, "x", "s", scale, offset)
    network.node("Neg", ["s"], "y")
    assert decode_all(model_of(network, shape))["s"].reason is Reason.MALFORMED


def test_what_is_not_finite():
    network = Network()
    scaler(network, "x", "s", [float("inf")], [0.0])
    network.node("Neg", ["s"], "y")
    assert decode_all(model_of(network))["s"].reason is Reason.NOT_FINITE


def test_a_function_of_the_same_name_is_none():
    network = Network()
    network.node("Scaler", ["x"], "s", domain=DOMAIN)
    network.node("Gemm", ["s", network.weight("w", 4, 5)], "y")
    body = [helper.make_node("Sin", ["a"], ["b"])]
    function = helper.make_function(DOMAIN, "Scaler", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model = network.model(
        {"x": (3, 4)}, {"y": ["rows", "columns"]}, domains={DOMAIN: 3}, functions=[function], check=False
    )
    assert decode_all(model)["s"].reason is Reason.FOREIGN_DOMAIN
