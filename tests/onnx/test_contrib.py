"""Operators of com.microsoft that onnxruntime's optimisers write: published, and read as published."""

import numpy as np
import onnx
import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.kernels import needs_newer_kernels
from tests.networks import Network
from tests.onnx.checks import assert_stays, decode_all, operators

DOMAIN = "com.microsoft"
DOMAINS = {DOMAIN: 1}
SHAPE = (2, 3, 4)


def model_of(network, inputs, outputs):
    shapes = {name: [f"d{axis}" for axis in range(rank)] for name, rank in outputs.items()}
    return network.model(inputs, shapes, domains=DOMAINS, check=False)


def fused_mat_mul(network, source, output, transposed, **attributes):
    weight = network.weight(f"{output}.weight", *((5, 4) if transposed else (4, 5)))
    given = {"transB": 1} if transposed else {}
    return network.node("FusedMatMul", [source, weight], output, domain=DOMAIN, **given, **attributes)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("alpha", [{}, {"alpha": -0.5}], ids=["1", "-0.5"])
@pytest.mark.parametrize("shape", [(3, 4), SHAPE], ids=len)
def test_a_product_takes_maps_on_both_sides(shape, alpha, transposed):
    network = Network()
    network.node("Mul", ["x", network.weight("m", 4)], "n")
    fused_mat_mul(network, "n", "p", transposed, **alpha)
    network.node("Mul", ["p", network.weight("k", 5)], "q")
    network.node("Add", ["q", network.weight("b", 5)], "y")
    folded = fold_and_compare(model_of(network, {"x": shape}, {"y": len(shape)}))
    assert operators(folded.model) == ["FusedMatMul", "Add"]


def test_a_batch_norm_behind_a_product_leaves_an_addition():
    network = Network()
    fused_mat_mul(network, "x", "p", transposed=False, alpha=2.0)
    network.batch_norm("p", "y", 5)
    folded = fold_and_compare(model_of(network, {"x": (3, 4)}, {"y": 2}))
    assert operators(folded.model) == ["FusedMatMul", "Add"]


@pytest.mark.parametrize("name", ["transA", "transBatchA", "transBatchB"])
def test_transposed_activations_have_no_rule(name):
    network = Network()
    fused_mat_mul(network, "x", "y", transposed=False, **{name: 1})
    assert decode_all(model_of(network, {"x": (4, 4)}, {"y": 2}))["y"].reason is Reason.UNKNOWN_OPERATOR


def test_a_weight_of_higher_rank_does_not_fold():
    network = Network()
    network.node("FusedMatMul", ["x", network.weight("w", 2, 4, 5)], "y", domain=DOMAIN)
    assert decode_all(model_of(network, {"x": SHAPE}, {"y": 3}))["y"].reason is Reason.WRONG_AXIS


def skip_layer_norm(network, outputs, *, beta=True, bias=True):
    names = ["x", "s", network.weight("gamma", 4), network.weight("beta", 4) if beta else ""]
    names += [network.weight("bias", 4)] if bias else []
    return network.node("SkipLayerNormalization", names, outputs, domain=DOMAIN, epsilon=1e-3)


@pytest.mark.parametrize("beta", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reads_sum", [True, False])
def test_a_norm_of_a_sum_takes_a_map(reads_sum, bias, beta):
    network = Network()
    skip_layer_norm(network, ["n", "", "", "sum"] if reads_sum else "n", beta=beta, bias=bias)
    network.node("Mul", ["n", network.weight("m", 4)], "q")
    network.node("Add", ["q", network.weight("b", 4)], "y")
    outputs = {"y": 3}
    if reads_sum:
        network.node("Sigmoid", ["sum"], "z")
        outputs["z"] = 3
    folded = fold_and_compare(model_of(network, {"x": SHAPE, "s": SHAPE}, outputs))
    assert operators(folded.model) == ["SkipLayerNormalization", *["Sigmoid"] * reads_sum]


@pytest.mark.parametrize("op_type", ["Gelu", "FastGelu", "QuickGelu", "BiasGelu"])
def test_ranks_are_known_behind_activations(op_type):
    network = Network()
    bias = [network.weight("b", 4)] if op_type == "BiasGelu" else []
    network.node(op_type, ["x", *bias], "g", domain=DOMAIN)
    network.node("MatMul", ["g", network.weight("w", 4, 5)], "p")
    network.node("Mul", ["p", network.weight("m", 5)], "y")
    folded = fold_and_compare(model_of(network, {"x": SHAPE}, {"y": 3}))
    assert operators(folded.model) == [op_type, "MatMul"]


def test_no_map_passes_an_activation():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.node("Gelu", ["c"], "g", domain=DOMAIN)
    network.batch_norm("g", "y", 4)
    assert_stays(model_of(network, {"x": (2, 3, 5, 5)}, {"y": 4}), Reason.NOT_LINEAR, "Gelu is not linear")


def test_a_fused_convolution_tells_its_rank():
    network = Network()
    network.node("FusedConv", ["x", network.weight("w", 4, 3, 1, 1)], "c", domain=DOMAIN, activation="Relu")
    network.node("Conv", ["c", network.weight("v", 5, 4, 1, 1)], "d")
    network.batch_norm("d", "y", 5)
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 5, 5)}, {"y": 4}))
    assert operators(folded.model) == ["FusedConv", "Conv"]


def test_products_of_integers_are_called_that():
    network = Network()
    network.initializers["w"] = np.ones((4, 5), np.uint8)
    network.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    network.node("MatMulInteger", ["q", "w"], "y")
    network.node("Cast", ["y"], "f", to=1)
    meaning = decode_all(network.model({"x": (3, 4)}, ["f"]))["y"]
    assert meaning.evidence == "MatMulInteger computes with integers, of which no map is a scale and a shift"


def test_a_norm_of_embeddings_takes_a_map():
    network = Network()
    tables = [network.weight(name, rows, 4) for name, rows in (("words", 6), ("places", 3), ("segments", 2))]
    parameters = [network.weight(name, 4) for name in ("gamma", "beta")]
    network.constant("ids", [[1, 5, 0]], "int32"), network.constant("parts", [[0, 1, 1]], "int32")
    network.node("Clip", ["given", network.constant("low", 0.0), network.constant("high", 5.0)], "x")
    network.node("Cast", ["x"], "i", to=onnx.TensorProto.INT32)
    network.node("EmbedLayerNormalization", ["i", "parts", *tables, *parameters], ["n", "", "sum"], domain=DOMAIN)
    network.node("Mul", ["n", network.weight("m", 4)], "q")
    network.node("Add", ["q", network.weight("b", 4)], "p")
    network.node("Sigmoid", ["sum"], "z")
    network.node("MatMul", ["p", network.weight("w", 4, 5)], "r")
    network.node("Mul", ["r", network.weight("k", 5)], "y")
    folded = fold_and_compare(model_of(network, {"given": (1, 3)}, {"y": 3, "z": 3}))
    assert operators(folded.model) == ["Clip", "Cast", "EmbedLayerNormalization", "Sigmoid", "MatMul"]


@needs_newer_kernels
@pytest.mark.parametrize("bias", [True, False])
def test_an_attention_takes_maps_in_front_of_its_weights(bias):
    network = Network()
    network.node("Mul", ["x", network.weight("m", 8)], "a")
    network.node("Add", ["a", network.weight("t", 8)], "n")
    inputs = ["n", network.weight("w", 8, 24), *([network.weight("b", 24)] if bias else [])]
    network.node("Attention", inputs, "y", domain=DOMAIN, num_heads=2)
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 8)}, {"y": 3}))
    assert operators(folded.model) == ["Attention"]


def test_nothing_leaves_an_attention():
    network = Network()
    network.node(
        "Attention", ["x", network.weight("w", 8, 24), network.weight("b", 24)], "c", domain=DOMAIN, num_heads=2
    )
    network.node("Mul", ["c", network.weight("m", 8)], "y")
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 8)}, {"y": 3}))
    assert operators(folded.model) == ["Attention", "Mul"]


def test_what_no_cpu_computes_is_called_that():
    network = Network()
    network.node("GemmFloat8", ["x", network.weight("w", 4, 5)], "c", domain=DOMAIN)
    network.batch_norm("c", "y", 5)
    model = model_of(network, {"x": (3, 4)}, {"y": 2})
    assert_stays(model, Reason.UNKNOWN_OPERATOR, "onnxruntime computes com.microsoft::GemmFloat8 on no CPU")
