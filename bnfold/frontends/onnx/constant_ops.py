"""The operators that exporters put between a weight and its user, evaluated on constants."""

from collections.abc import Sequence
from itertools import zip_longest
from math import ceil, prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper

from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.refusal import Reason, Refusal

AnyArray: TypeAlias = npt.NDArray[np.generic]
Operands: TypeAlias = Sequence[AnyArray]

# Numbers. What a graph makes of weights is about as large as they are; more is a file that asks for memory.
_MOST_FROM_NOTHING = 2**24
_MOST_TIMES_LARGER = 4
_MOST_THAT_GROWS = 2**26


def identity(_node: OnnxNode, operands: Operands) -> AnyArray:
    """Source: ONNX Identity-1 to -25."""
    return operands[0]


def cast(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """Between numbers, 8-bit floats excepted. Source: ONNX Cast-6 to -25."""
    return _converted(node, operands[0], attribute(node, "to", onnx.TensorProto.UNDEFINED))


def cast_like(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """To the type of another tensor, where that is known before run time. Source: ONNX CastLike-15 to -25."""
    like = node.inputs[1]
    if like is None or like.element_type == onnx.TensorProto.UNDEFINED:
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} casts to a type that is not known before run time")
    return _converted(node, operands[0], like.element_type)


def _converted(node: OnnxNode, data: AnyArray, element_type: int) -> AnyArray | Refusal:
    target = onnx.helper.tensor_dtype_to_np_dtype(element_type)
    if not _is_number(data.dtype) or not _is_number(target):
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} casts {data.dtype} to {target}")
    with np.errstate(over="ignore", invalid="ignore"):
        return data.astype(target)


def reshape(node: OnnxNode, operands: Operands) -> AnyArray:
    """Source: ONNX Reshape-5 to -25."""
    lengths = [int(length) for length in operands[1].tolist()]
    if not attribute(node, "allowzero", 0):
        lengths = [operands[0].shape[axis] if length == 0 else length for axis, length in enumerate(lengths)]
    return operands[0].reshape(lengths)


def dequantize_linear(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """Per tensor, per axis or per block, from integers and 8-bit floats. Source: ONNX DequantizeLinear-10 to -28."""
    quantized, scale = operands[:2]
    if scale.size > 1 and scale.ndim > 1 and not attribute(node, "block_size", 0):
        return Refusal(Reason.QUANTIZED, f"{node.label!r} has scales of shape {scale.shape} and no block size")
    cells = scale_cells(node, scale.shape, quantized.shape)
    centred = quantized.astype(np.float64)
    if len(operands) > 2:
        zero_point = np.broadcast_to(operands[2].astype(np.float64), scale.shape)
        centred = centred - zero_point.reshape(-1)[cells]
    return (centred * scale.astype(np.float64).reshape(-1)[cells]).astype(scale.dtype)


def scale_cells(node: OnnxNode, scale: tuple[int, ...], values: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """For each value of a DequantizeLinear, the number of the scale that it is multiplied with.

    Args:
        node: the node.
        scale: shape of its scales: (), (1,), (n,) along its axis, or blocks of its axis.
        values: shape of its values.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    numbers = np.arange(int(np.prod(scale))).reshape(scale)
    if numbers.size == 1:
        return np.broadcast_to(numbers.reshape(()), values)
    axis = attribute(node, "axis", 1) % len(values)
    block = attribute(node, "block_size", 0)
    if block:
        cut: npt.NDArray[np.intp] = np.repeat(numbers, block, axis)[(slice(None),) * axis + (slice(values[axis]),)]
        if cut.shape != values or numbers.shape[axis] != ceil(values[axis] / block):
            raise ValueError(f"scales of shape {scale} for blocks of {block} values of shape {values}")
        return cut
    return np.broadcast_to(numbers.reshape(-1, *(1,) * (len(values) - axis - 1)), values)


def too_large(node: OnnxNode, size: int, operands: Operands) -> Refusal | None:
    """Whether a node would make many more numbers than it reads, before they exist."""
    largest = max((values.size for values in operands), default=0)
    most = max(_MOST_FROM_NOTHING, largest, min(_MOST_TIMES_LARGER * largest, _MOST_THAT_GROWS))
    if size <= most:
        return None
    evidence = f"{node.label!r} ({node.op}) would make {size:,} numbers, more than {most:,}"
    return Refusal(Reason.DYNAMIC_PARAMETER, evidence)


def concat(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """Source: ONNX Concat-4 to -13."""
    refusal = too_large(node, sum(values.size for values in operands), operands)
    return refusal or np.concatenate(operands, axis=attribute(node, "axis", 1))


def slice_(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """Bounds as attributes or inputs, forward only. Source: ONNX Slice-1, -10, -11, -13."""
    data, *bounds = operands
    if bounds:
        starts, stops, *rest = ([int(number) for number in values.reshape(-1).tolist()] for values in bounds)
    else:
        starts, stops, rest = list(attribute(node, "starts", ())), list(attribute(node, "ends", ())), []
    axes = rest[0] if rest else list(attribute(node, "axes", None) or range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    if any(step < 1 for step in steps):
        # Python's bounds are not ONNX's there, and no exporter slices weights backwards.
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} slices backwards")
    places = [slice(None)] * data.ndim
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        places[axis] = slice(start, stop, step)
    return data[tuple(places)]


def expand(node: OnnxNode, operands: Operands) -> AnyArray | Refusal:
    """Source: ONNX Expand-8, -13."""
    lengths = [int(length) for length in operands[1].tolist()]
    reversed_lengths = zip_longest(reversed(operands[0].shape), reversed(lengths), fillvalue=1)
    refusal = too_large(node, prod(max(pair) for pair in reversed_lengths), operands[:1])
    return refusal or np.broadcast_to(operands[0], np.broadcast_shapes(operands[0].shape, tuple(lengths)))


def shape(node: OnnxNode, _operands: Operands) -> AnyArray | Refusal:
    """Of a tensor whose asked-for dimensions are known before run time. Source: ONNX Shape-1 to -25."""
    known = node.inputs[0].shape if node.inputs[0] is not None else None
    part = None if known is None else known[attribute(node, "start", 0) : attribute(node, "end", None)]
    if part is None or not all(isinstance(length, int) for length in part):
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} reads a shape that is not known before run time")
    return np.array(part, np.int64)


def size(node: OnnxNode, _operands: Operands) -> AnyArray | Refusal:
    """Of a tensor whose dimensions are known before run time. Source: ONNX Size-1 to -25."""
    known = node.inputs[0].shape if node.inputs[0] is not None else None
    if known is None or not all(isinstance(length, int) for length in known):
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} reads a shape that is not known before run time")
    return np.array(prod(length for length in known if isinstance(length, int)), np.int64)


def squeeze(node: OnnxNode, operands: Operands) -> AnyArray:
    """Axes as attribute or input. Source: ONNX Squeeze-1 to -25."""
    axes = _axes(node, operands)
    return np.squeeze(operands[0], axis=None if axes is None else tuple(axes))


def unsqueeze(node: OnnxNode, operands: Operands) -> AnyArray:
    """Axes as attribute or input. Source: ONNX Unsqueeze-1 to -25."""
    return np.expand_dims(operands[0], tuple(_axes(node, operands) or ()))


def transpose(node: OnnxNode, operands: Operands) -> AnyArray:
    """Source: ONNX Transpose-1 to -25."""
    return np.transpose(operands[0], attribute(node, "perm", None))


def is_float(dtype: np.dtype[np.generic]) -> bool:
    """Whether folding can write this type: float16, bfloat16, float32 or float64."""
    return dtype.name in ("float16", "bfloat16", "float32", "float64")


def _is_number(dtype: np.dtype[np.generic]) -> bool:
    return is_float(dtype) or dtype.kind in "iub"


def _axes(node: OnnxNode, operands: Operands) -> list[int] | None:
    if len(operands) > 1:
        return [int(axis) for axis in operands[1].reshape(-1).tolist()]
    axes = attribute(node, "axes", None)
    return None if axes is None else list(axes)
