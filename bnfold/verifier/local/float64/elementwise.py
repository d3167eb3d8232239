"""Operators that compute number by number. Source: ONNX, all versions up to opset 24."""

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from bnfold.verifier.local.float64.operator import OPERATORS, Array, Call, NotComputedError, computes, is_float

_erf = np.vectorize(math.erf, otypes=[np.float64])

_PLAIN: dict[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tanh": np.tanh,
    "Atan": np.arctan,
    "Not": np.logical_not,
    "IsNaN": np.isnan,
    "Identity": lambda x: x,
    "Erf": _erf,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: _sigmoid(x),
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Pow": np.power,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Where": np.where,
}


def _enter_plain() -> None:
    for op_type, function in _PLAIN.items():
        OPERATORS[op_type] = lambda call, *inputs, _function=function: _broadcast(call, _function, *inputs)


def _broadcast(call: Call, function: Callable[..., Array], *inputs: Array) -> Array:
    if call.get("axis") is not None or call.get("broadcast"):
        raise NotComputedError(f"{call.op_type} with the broadcasting of opset 6")
    return np.asarray(function(*inputs))


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


@computes("Div")
def _div(_call: Call, a: Array, b: Array) -> Array:
    if is_float(a):
        return np.asarray(a / b)
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)


@computes("Sum")
def _sum(_call: Call, *inputs: Array) -> Array:
    return reduce(np.add, inputs)


@computes("Mean")
def _mean(_call: Call, *inputs: Array) -> Array:
    return np.asarray(reduce(np.add, inputs) / len(inputs))


@computes("Max")
def _max(_call: Call, *inputs: Array) -> Array:
    return reduce(np.maximum, inputs)


@computes("Min")
def _min(_call: Call, *inputs: Array) -> Array:
    return reduce(np.minimum, inputs)


@computes("Clip")
def _clip(call: Call, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if "min" in call.attributes:
        low = np.asarray(call.get("min"), x.dtype)
    if "max" in call.attributes:
        high = np.asarray(call.get("max"), x.dtype)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@computes("LeakyRelu")
def _leaky_relu(call: Call, x: Array) -> Array:
    return np.where(x < 0, call.get("alpha", 0.01) * x, x)


@computes("PRelu")
def _prelu(_call: Call, x: Array, slope: Array) -> Array:
    return np.where(x < 0, slope * x, x)


@computes("Elu")
def _elu(call: Call, x: Array) -> Array:
    return np.where(x < 0, call.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)), x)


@computes("Celu")
def _celu(call: Call, x: Array) -> Array:
    alpha = call.get("alpha", 1.0)
    return np.asarray(np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha))


@computes("Selu")
def _selu(call: Call, x: Array) -> Array:
    alpha, gamma = call.get("alpha", 1.67326319217681884765625), call.get("gamma", 1.05070102214813232421875)
    return np.asarray(gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x))


@computes("ThresholdedRelu")
def _thresholded_relu(call: Call, x: Array) -> Array:
    return np.where(x > call.get("alpha", 1.0), x, 0.0)


@computes("HardSigmoid")
def _hard_sigmoid(call: Call, x: Array) -> Array:
    return np.asarray(np.clip(call.get("alpha", 0.2) * x + call.get("beta", 0.5), 0, 1))


@computes("Swish")
def _swish(call: Call, x: Array) -> Array:
    return np.asarray(x * _sigmoid(call.get("alpha", 1.0) * x))


@computes("Gelu")
def _gelu(call: Call, x: Array) -> Array:
    if call.text("approximate", "none") == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


@computes("Dropout")
def _dropout(call: Call, x: Array, ratio: Array | None = None, training: Array | None = None) -> list[Array]:
    if training is not None and np.any(training) and (ratio is None or np.any(ratio)):
        raise NotComputedError("a Dropout in training mode")
    return [x, np.ones(x.shape, np.bool_)][: max(1, call.outputs)]


@computes("Cast")
def _cast(call: Call, x: Array) -> Array:
    """To floating point of any precision a number stays what it is."""
    from onnx import helper

    target = helper.tensor_dtype_to_np_dtype(int(call.get("to")))
    return _as_type(x, target)


@computes("CastLike")
def _cast_like(_call: Call, x: Array, like: Array) -> Array:
    return _as_type(x, like.dtype)


def _as_type(x: Array, target: "np.dtype[np.generic]") -> Array:
    if target.kind in "biuOU":
        return x.astype(target)
    return x.astype(np.float64)


_enter_plain()
