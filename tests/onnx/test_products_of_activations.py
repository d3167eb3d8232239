"""MatMul, FusedMatMul and Einsum of two tensors of the run time, of whatever ranks and in whatever order of axes."""

import numpy as np
import pytest

from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators
from tests.onnx.test_microsoft_kinds import DOMAIN, model_of

SHAPES = [((3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((1, 6, 3, 4), (2, 1, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,))]


def made(network, left, right):
    """Each factor comes out of a matrix for its outer axis, which takes a scale along that."""
    if len(left) > 1:
        network.node("MatMul", [network.weight("v", left[-2], left[-2]), "a"], "a2")
    else:
        network.node("Identity", ["a"], "a2")
    network.node("MatMul", ["b", network.weight("w", right[-1], right[-1])], "b2")


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_scales_behind_a_product_of_two_ranks_go_in_front_of_it(shapes):
    network = Network()
    made(network, *shapes)
    network.node("MatMul", ["a2", "b2"], "p")
    result = np.matmul(*(np.zeros(shape) for shape in shapes)).shape
    network.node("Mul", ["p", network.weight("m", result[-1])], "y")
    folded = fold_and_compare(network.model(dict(zip("ab", shapes, strict=True)), ["y"]))
    assert "Mul" not in operators(folded.model)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_scales_in_front_go_behind(shapes):
    """Of rows of the left and of the batch; what stays in front varies along what is summed."""
    network = Network()
    network.node("Mul", ["a", network.constant("k", 0.5)], "a2")
    network.node("Neg", ["b"], "b2")
    network.node("MatMul", ["a2", "b2"], "p")
    network.node("Mul", ["p", network.weight("m", 1)], "y")
    model = network.model(dict(zip("ab", shapes, strict=True)), ["y"])
    folded = fold_and_compare(model)
    assert operators(folded.model).count("Mul") == 1


def test_a_shift_stays_behind_a_product_of_two_ranks():
    network = Network()
    made(network, (3, 4), (2, 4, 5))
    network.node("MatMul", ["a2", "b2"], "p")
    network.batch_norm("p", "y", 3)
    model = network.model({"a": (3, 4), "b": (2, 4, 5)}, ["y"])
    assert_stays(model, Reason.SHIFT_CANNOT_PASS, "a product of two activations keeps no shift")


@pytest.mark.parametrize("opset", [8, 17])
def test_a_product_of_two_matrices_becomes_a_gemm_with_the_shift_for_a_bias(opset):
    network = Network(opset=opset)
    made(network, (3, 4), (4, 5))
    network.node("MatMul", ["a2", "b2"], "p")
    network.batch_norm("p", "y", 5)
    assert_folds_to(network.model({"a": (3, 4), "b": (4, 5)}, ["y"]), "MatMul", "MatMul", "Gemm")


@pytest.mark.parametrize("length", ["n", 5])
def test_the_shift_alone_needs_nothing_of_the_factors(length):
    network = Network()
    network.node("MatMul", ["a", "b"], "p")
    network.node("Add", ["p", network.weight("t", *([5] if length == 5 else []))], "y")
    folded = assert_folds_to(network.model({"a": (3, 4), "b": (4, length)}, {"y": [3, length]}), "Gemm")
    assert operators(fold(folded.model).model) == ["Gemm"]


def test_a_shift_that_differs_from_row_to_row_is_no_bias():
    network = Network()
    network.node("MatMul", ["a", "b"], "p")
    network.node("Add", ["p", network.weight("t", 3, 1)], "y")
    (kept,) = fold(network.model({"a": (3, 4), "b": (4, 5)}, ["y"])).kept
    assert kept.refusals[0].reason is Reason.WRONG_AXIS


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bik,bkj->bij", ((2, 3, 4), (2, 4, 5))),
        ("bki,bjk->bji", ((2, 4, 3), (2, 5, 4))),
        ("nchw,nc->nhwc", ((2, 5, 3, 4), (2, 5))),
        ("bqhd,bkhd->bhqk", ((2, 3, 5, 4), (2, 6, 5, 4))),
        ("ik,kj->ij", ((3, 4), (4, 5))),
        ("i,j->ij", ((3,), (5,))),
    ],
)
def test_an_einsum_of_two_activations_lets_scales_through(equation, shapes):
    network = Network()
    terms, result = equation.split("->")
    lengths = dict(zip(terms.replace(",", ""), (n for shape in shapes for n in shape), strict=True))
    for name, term in zip("ab", terms.split(","), strict=True):
        last = lengths[result[-1]]
        if result[-1] in term:
            matrix = f"{term},{result[-1]}Z->{term.replace(result[-1], 'Z')}"
            network.node("Einsum", [name, network.weight("w", last, last)], f"{name}2", equation=matrix)
        else:
            network.node("Identity", [name], f"{name}2")
    network.node("Einsum", ["a2", "b2"], "p", equation=equation)
    network.node("Mul", ["p", network.weight("m", last)], "y")
    model = network.model(dict(zip("ab", shapes, strict=True)), {"y": [lengths[letter] for letter in result]})
    assert "Mul" not in operators(fold_and_compare(model).model)


@pytest.mark.parametrize("equation", ["bii,bij->bij", "bij,bjk->bkk"])
def test_an_einsum_that_takes_a_diagonal_has_no_rule(equation):
    network = Network()
    network.node("Einsum", ["a", "b"], "p", equation=equation)
    network.batch_norm("p", "y", 3)
    model = network.model({"a": (2, 3, 3), "b": (2, 3, 3)}, {"y": [2, 3, 3]}, check=False)
    folded = fold(model)
    assert folded.folds == ()
    assert folded.kept[0].refusals[0].reason in (Reason.UNKNOWN_OPERATOR, Reason.UNKNOWN_SHAPE)


def test_attention_in_einsums_forgets_a_shift_of_keys_and_passes_one_of_values():
    network = Network()
    for name in "qkv":
        network.node("Conv", ["x", network.weight(f"{name}.w", 8, 4, 1)], f"{name}.c")
    network.batch_norm("k.c", "k.n", 8), network.batch_norm("v.c", "v.n", 8)
    for name, source in (("q", "q.c"), ("k", "k.n"), ("v", "v.n")):
        network.initializers["shape"] = np.array([0, 2, 4, -1])
        network.node("Reshape", [source, "shape"], name)
    network.node("Einsum", ["q", "k"], "s", equation="bhdq,bhdk->bhqk")
    network.node("Softmax", ["s"], "p", axis=-1)
    network.node("Einsum", ["p", "v"], "o", equation="bhqk,bhdk->bhqd")
    network.node("Relu", ["o"], "y")
    assert fold_and_compare(network.model({"x": (2, 4, 6)}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"transA": 1, "alpha": 0.5}])
def test_a_fused_product_of_two_activations_lets_scales_through(attributes):
    network = Network()
    left, right = (2, 3, 4), (2, 4, 5)
    left = (2, 4, 3) if "transA" in attributes else left
    right = (2, 5, 4) if "transB" in attributes else right
    along = network.weight("w", 5, 5)
    network.node("MatMul", [along, "b"] if "transB" in attributes else ["b", along], "b2")
    network.node("FusedMatMul", ["a", "b2"], "p", domain=DOMAIN, **attributes)
    network.node("Mul", ["p", network.weight("m", 5)], "y")
    folded = fold_and_compare(model_of(network, {"a": left, "b": right}, {"y": 3}))
    assert operators(folded.model) == ["MatMul", "FusedMatMul"]


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_rows_of_weights_that_a_fused_product_scales_do_not_sum_to_1(alpha):
    network = Network()
    network.node("Add", ["z", network.weight("u", 5)], "b")
    network.node("Softmax", ["a"], "s", axis=-1)
    network.node("FusedMatMul", ["s", "b"], "p", domain=DOMAIN, alpha=alpha)
    network.node("Add", ["p", network.weight("t", 5)], "y")
    folded = fold_and_compare(model_of(network, {"a": (2, 3, 4), "z": (2, 4, 5)}, {"y": 3}))
    assert operators(folded.model).count("Add") == (1 if alpha == 1 else 2)


def test_the_shape_behind_a_fused_product_is_that_of_its_factors_as_they_are_turned():
    network = Network()
    network.node("FusedMatMul", ["a", "b"], "p", domain=DOMAIN, transA=1)
    network.node("Relu", ["p"], "y")
    port = OnnxPort(model_of(network, {"a": (4, 3), "b": (2, 4, 5)}, {"y": 3}), TensorStore(None))
    assert next(iter(port.nodes())).outputs[0].shape == (2, 3, 5)
