"""Every floating-point type of a weight: arithmetic in float64, one rounding, and the weight keeps its type."""

import ml_dtypes
import numpy as np
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators

CHANNELS = 4
NUMPY = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
EVERY_TYPE = pytest.mark.parametrize("dtype", NUMPY)
NARROW_TYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}


def conv_network(dtype, opset=17):
    network = Network(opset=opset)
    weight = network.weight("weight", CHANNELS, 3, 1, 1, dtype=dtype)
    network.node("Conv", ["x", weight, network.weight("bias", CHANNELS, dtype=dtype)], "c")
    return network, {"x": (2, 3, 4, 4)}


def tensors(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


# onnxruntime has no Conv in float64 on a CPU.
@pytest.mark.parametrize(
    ("op", "dtype"),
    [(op, dtype) for op in ("Conv", "ConvTranspose", "Gemm", "MatMul") for dtype in ("float16", "float32")]
    + [("Gemm", "float64"), ("MatMul", "float64")],
)
@pytest.mark.parametrize("opset", [7, 13, 22])
def test_against_onnxruntime(op, dtype, opset):
    network = Network(opset=opset)
    flat = op in ("Gemm", "MatMul")
    inputs = ["x", network.weight("weight", CHANNELS, CHANNELS, *([] if flat else [3, 3]), dtype=dtype)]
    inputs += [network.weight("bias", CHANNELS, dtype=dtype)] if op == "Gemm" else []
    network.node(op, inputs, "c")
    network.batch_norm("c", "d", CHANNELS, dtype=dtype)
    network.node("Mul", ["d", network.weight("m", CHANNELS, *([] if flat else [1, 1]), dtype=dtype)], "y")
    model = network.model({"x": (2, CHANNELS, *([] if flat else [4, 4]))}, ["y"], dtype=dtype)
    folded = assert_folds_to(model, "Gemm" if flat else op)
    assert {str(array.dtype) for array in tensors(folded.model).values()} == {dtype}


def affine_of(stored, name="y", epsilon=1e-5):
    gamma, beta, mean, variance = (
        stored[f"{name}.{key}"].astype(np.float64) for key in ("scale", "bias", "mean", "var")
    )
    scale = gamma / np.sqrt(variance + np.float64(np.float32(epsilon)))
    return scale, beta - scale * mean


@EVERY_TYPE
def test_folded_weights_are_the_exact_ones_rounded_once(dtype):
    network, inputs = conv_network(dtype)
    network.batch_norm("c", "y", CHANNELS, dtype=dtype, epsilon=1e-5)
    model = network.model(inputs, ["y"], dtype=dtype)
    before, after = tensors(model), tensors(fold(model).model)
    scale, shift = affine_of(before)
    weight = before["weight"].astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    bias = before["bias"].astype(np.float64) * scale + shift
    assert after.keys() == {"weight", "bias"}
    assert_same_bits(after["weight"], weight, dtype)
    assert_same_bits(after["bias"], bias, dtype)


@EVERY_TYPE
def test_a_chain_of_three_folds_is_rounded_once(dtype):
    network, inputs = conv_network(dtype)
    for source, output in (("c", "d"), ("d", "e"), ("e", "y")):
        network.batch_norm(source, output, CHANNELS, dtype=dtype, epsilon=1e-5)
        # Scales near 1: the product of three keeps its digits even in the smallest type.
        network.initializers[f"{output}.scale"] = network.random.uniform(0.5, 2, CHANNELS).astype(NUMPY[dtype])
        network.initializers[f"{output}.var"] = network.random.uniform(0.5, 2, CHANNELS).astype(NUMPY[dtype])
    model = network.model(inputs, ["y"], dtype=dtype)
    folded = fold(model)
    assert operators(folded.model) == ["Conv"]
    before, after = tensors(model), tensors(folded.model)
    weight, bias = before["weight"].astype(np.float64), before["bias"].astype(np.float64)
    rounded_each_time = weight
    for name in ("d", "e", "y"):
        scale, shift = affine_of(before, name)
        weight, bias = weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift
        rounded_each_time = (rounded_each_time * scale.reshape(-1, 1, 1, 1)).astype(NUMPY[dtype]).astype(np.float64)
    assert_same_bits(after["weight"], weight, dtype)
    assert_same_bits(after["bias"], bias, dtype)
    if dtype != "float64":
        assert (rounded_each_time != after["weight"]).any(), "the example does not show a second rounding"


def assert_same_bits(stored, exact, dtype):
    assert stored.dtype == NUMPY[dtype]
    assert np.array_equal(stored.astype(np.float64), nearest(exact, dtype))


def nearest(exact, dtype):
    """Rounded to the type's significand, ties to even, by integers alone; for numbers in its normal range."""
    bits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype]
    fraction, exponent = np.frexp(exact)
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)


def test_one_rounding_to_bfloat16_does_not_go_through_float32():
    """The product of four numbers of eight bits has up to 32: in float32 this one falls between two bfloat16."""
    network = Network()
    network.node("Conv", ["x", network.constant("weight", np.full((1, 1, 1, 1), 133.0), "bfloat16")], "v0")
    for number, factor in enumerate([173.0, 235.0, 249.0]):
        constant = network.constant(f"factor{number}", factor, "bfloat16")
        network.node("Mul", [f"v{number}", constant], f"v{number + 1}")
    folded = fold(network.model({"x": (1, 1, 2, 2)}, ["v3"], dtype="bfloat16"))
    assert operators(folded.model) == ["Conv"]
    assert_same_bits(tensors(folded.model)["weight"].reshape(()), 133.0 * 173.0 * 235.0 * 249.0, "bfloat16")


@pytest.mark.parametrize("opset", [15, 18, 22])
@pytest.mark.parametrize("statistics", ["float16", "float32"])
def test_float16_convolution_with_float32_parameters(opset, statistics):
    """Legal from opset 15: scale and bias have one type, mean and variance another, X a third."""
    network, inputs = conv_network("float16", opset)
    network.batch_norm("c", "y", CHANNELS, dtype="float32")
    for name in ("y.mean", "y.var"):
        network.initializers[name] = network.initializers[name].astype(statistics)
    model = network.model(inputs, ["y"], dtype="float16")
    folded = fold(model)
    assert operators(folded.model) == ["Conv"]
    before, after = tensors(model), tensors(folded.model)
    scale, shift = affine_of(before)
    assert_same_bits(after["bias"], before["bias"].astype(np.float64) * scale + shift, "float16")
    assert after["weight"].dtype == np.float16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_new_bias_has_the_type_of_the_weight(dtype):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1, dtype=dtype)], "c")
    network.batch_norm("c", "y", CHANNELS, dtype="float32")
    folded = fold(network.model({"x": (2, 3, 4, 4)}, ["y"], dtype=dtype))
    assert {name: str(array.dtype) for name, array in tensors(folded.model).items()} == {"weight": dtype, "bias": dtype}


@NARROW_TYPES
@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_overflow_is_refused(dtype, parameter):
    network, inputs = conv_network(dtype)
    largest = float(ml_dtypes.finfo(NUMPY[dtype]).max)
    network.initializers[parameter].flat[1] = largest
    network.node("Mul", ["c", network.constant("m", 2.0, dtype)], "y")
    (kept,) = fold(network.model(inputs, ["y"], dtype=dtype)).kept
    assert kept.refusals[0].reason is Reason.OVERFLOW
    assert kept.refusals[0].evidence == (
        f"the folded parameter reaches {2 * largest:.4g}, the largest {dtype} is {largest:.4g}"
    )


@NARROW_TYPES
def test_underflow_is_refused(dtype):
    network, inputs = conv_network(dtype)
    network.initializers["weight"][2] = SMALLEST_NORMAL[dtype]
    network.initializers["bias"][2] = 0  # beside a bias, such weights would be lost in its rounding
    tiny = np.ones((CHANNELS, 1, 1))
    tiny[2] = 2.0**-24
    network.node("Mul", ["c", network.constant("m", tiny, dtype)], "y")
    (kept,) = fold(network.model(inputs, ["y"], dtype=dtype)).kept
    assert kept.refusals[0].reason is Reason.UNDERFLOW
    assert ", in 1 of 4 channels: " in kept.refusals[0].evidence
    assert kept.refusals[0].evidence.endswith("in channel 2")


def test_beyond_float64_is_refused_without_a_warning():
    network, inputs = conv_network("float64")
    network.initializers["weight"].flat[0] = 1e300
    network.batch_norm("c", "y", CHANNELS, dtype="float64")
    network.initializers["y.scale"][:] = 1e300
    assert_stays(network.model(inputs, ["y"], dtype="float64"), Reason.OVERFLOW, "exceeds the largest float64")


def test_a_scale_beyond_float64_is_refused_without_a_warning():
    network, inputs = conv_network("float64")
    network.batch_norm("c", "y", CHANNELS, dtype="float64", epsilon=0.0)
    network.initializers["y.scale"][1] = 1e300
    network.initializers["y.var"][1] = 1e-300
    folded = fold(network.model(inputs, ["y"], dtype="float64"))
    assert folded.folds == ()
    assert folded.kept[0].refusals[0].reason in (Reason.OVERFLOW, Reason.NOT_FINITE)


def test_a_channel_without_variance_in_float16():
    """float16 with epsilon 1e-8: computed in float16, variance + epsilon would be 0 and the scale infinite."""
    network, inputs = conv_network("float16")
    network.batch_norm("c", "y", CHANNELS, dtype="float16", epsilon=1e-8)
    network.initializers["y.var"][1] = 0.0
    network.initializers["y.scale"][1] = 1e-3
    network.initializers["y.mean"][1] = 0.0
    folded = fold(network.model(inputs, ["y"], dtype="float16"))
    assert operators(folded.model) == ["Conv"]
    assert all(np.isfinite(array).all() for array in tensors(folded.model).values())
