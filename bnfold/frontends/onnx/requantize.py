"""Parameters stored as integers behind a DequantizeLinear, scaled exactly: no number is ever quantised anew.

With y = (q - z) * a, the map s * y is (q - z) * (s * a) for s > 0. For s < 0 the integers are mirrored about their
zero point, q' = 2 z - q, where all of them have a mirror image; for s = 0 they become the zero point. One scale for
the whole tensor becomes one for each channel where the map needs that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.frontends.common.parameters import NewParameter, new_parameter
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constant_ops import AnyArray, scale_cells
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue
from bnfold.refusal import Reason, Refusal

# What float64 may lose between the old values times a factor and the new ones.
_EXACT = 1e-12
_FIRST_WITH_AXIS = 13
_INTEGERS, _SCALE, _ZERO_POINT = 0, 1, 2
# Between integers and their reader.
_MOVING = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_LONGEST_CHAIN = 8


@dataclass(frozen=True, eq=False)
class Requantized:
    """A DequantizeLinear with other inputs.

    Attributes:
        node: the node.
        through: nodes between it and the reader, the last first.
        slot: of the node that reads its output, and shall read the new values.
        parameters: new values of the DequantizeLinear's inputs, by slot.
        axis: along which there is one scale for each index from now on; None where that has not changed.
        factors: by what each of the old values is multiplied, along the axis of its scales or over its blocks.
    """

    node: OnnxNode
    through: Sequence[OnnxNode]
    slot: int
    parameters: Mapping[int, NewParameter]
    axis: int | None
    factors: Array


@dataclass(frozen=True)
class Dequantizer:
    """A DequantizeLinear that makes a tensor.

    Attributes:
        node: the DequantizeLinear.
        through: nodes between it and the tensor, which move its numbers, the last first.
    """

    node: OnnxNode
    through: tuple[OnnxNode, ...]

    @property
    def label(self) -> str:
        """Of the DequantizeLinear."""
        return self.node.label


def dequantizer(value: OnnxValue | None) -> Dequantizer | None:
    """The DequantizeLinear that makes a tensor, if one does. Exporters transpose weights of linear layers behind it."""
    through: list[OnnxNode] = []
    while value is not None and value.producer is not None and len(through) < _LONGEST_CHAIN:
        node = value.producer
        if node.traits.dequantizes:
            return Dequantizer(node, tuple(through))
        if not node.is_standard or node.proto.op_type not in _MOVING or node.inputs[0] is None:
            return None
        through.append(node)
        value = node.inputs[0]
    return None


def requantized(
    quantized: Dequantizer, slot: int, new: Array, constants: OnnxConstants
) -> Requantized | Refusal | None:
    """The inputs with which a DequantizeLinear makes other numbers for its reader.

    Args:
        quantized: the DequantizeLinear.
        slot: where its reader reads it.
        new: what it is to read.
        constants: of the model.

    Returns:
        The inputs, None where nothing changes, or QUANTIZED where no inputs give exactly these values.
    """
    node = quantized.node
    stored = _Stored.of(node, constants)
    if isinstance(stored, Refusal):
        return stored
    old = constants.require(node.outputs[0])
    for moving in quantized.through:
        new = _moved_back(moving, new, constants)
    if old.shape != new.shape:
        return Refusal(Reason.QUANTIZED, f"{node.label!r} makes shape {old.shape}, folded it would be {new.shape}")
    values = old.astype(np.float64)
    for axis, cells, shape in stored.granularities():
        factors = _factors(values, new, cells, shape)
        if factors is not None:
            return None if np.all(factors == 1.0) else _with_factors(stored, quantized, slot, axis, cells, factors)
    return Refusal(Reason.QUANTIZED, f"{node.label!r} has {stored.describe()}, which cannot express the map")


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a DequantizeLinear reads: integers or 8-bit floats, scales, zero points."""

    node: OnnxNode
    integers: AnyArray
    scale: Array
    scale_dtype: np.dtype[np.generic]
    zero_point: AnyArray | None

    @classmethod
    def of(cls, node: OnnxNode, constants: OnnxConstants) -> "_Stored | Refusal":
        stored, scale, zero_point = [*node.inputs, None][:3]
        if stored is None or scale is None:
            return Refusal(Reason.MALFORMED, f"{node.label!r} ({node.op}) has no values or no scale")
        scales = constants.read_exact(scale)
        if isinstance(scales, Refusal):
            return scales
        zeros = None if zero_point is None else constants.require(zero_point)
        return cls(node, constants.require(stored), scales, constants.require(scale).dtype, zeros)

    def granularities(self) -> Iterator[tuple[int | None, npt.NDArray[np.intp], tuple[int, ...]]]:
        """Ways to share scales: the axis if it is a new one, for each value the number of its scale, their shape."""
        yield None, scale_cells(self.node, self.scale.shape, self.integers.shape), self.scale.shape
        if self.scale.size == 1 and not attribute(self.node, "block_size", 0) and _has_axis(self.node):
            for axis, length in enumerate(self.integers.shape):
                along = np.arange(length).reshape(-1, *(1,) * (self.integers.ndim - axis - 1))
                yield axis, np.broadcast_to(along, self.integers.shape), (length,)

    def describe(self) -> str:
        if attribute(self.node, "block_size", 0):
            return f"a scale for every {attribute(self.node, 'block_size', 0)} values"
        return "one scale for all" if self.scale.size == 1 else f"scales along axis {attribute(self.node, 'axis', 1)}"

    def zeros(self, cells: npt.NDArray[np.intp], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """The zero point of each value."""
        if self.zero_point is None:
            return np.zeros((), np.int64)
        return np.broadcast_to(self.zero_point.astype(np.int64), shape).reshape(-1)[cells]


def _has_axis(node: OnnxNode) -> bool:
    """Whether the operator can have one scale for each index of an axis; that of com.microsoft always can."""
    return not node.is_standard or node.opset >= _FIRST_WITH_AXIS


def _factors(old: Array, new: Array, cells: npt.NDArray[np.intp], shape: tuple[int, ...]) -> Array | None:
    """One factor for each scale with new == factor * old, or None."""
    count = int(np.prod(shape))
    flat = cells.reshape(-1)
    squares = np.bincount(flat, (old * old).reshape(-1), count)
    products = np.bincount(flat, (old * new).reshape(-1), count)
    factors = np.divide(products, squares, out=np.ones(count), where=squares > 0)
    allowed = _EXACT * np.abs(factors) * np.sqrt(squares)
    exact = np.abs(new - factors[cells] * old) <= allowed[cells]
    return factors.reshape(shape) if bool(exact.all()) else None


def _moved_back(node: OnnxNode, values: Array, constants: OnnxConstants) -> Array:
    """Numbers as they were before a node moved them."""
    if node.proto.op_type == "Transpose":
        order = attribute(node, "perm", None) or range(values.ndim)[::-1]
        return np.transpose(values, np.argsort(order))
    return values.reshape(constants.require(node.inputs[0]).shape)


def _with_factors(
    stored: _Stored, quantized: Dequantizer, slot: int, axis: int | None, cells: npt.NDArray[np.intp], factors: Array
) -> Requantized | Refusal:
    scale = new_scales(stored.node, stored.scale * np.where(factors == 0, 1.0, np.abs(factors)), stored.scale_dtype)
    if isinstance(scale, Refusal):
        return scale
    parameters = {_SCALE: scale}
    if (factors <= 0).any():
        signs = np.sign(factors).reshape(-1)[cells]
        integers = _mirrored(stored, signs, stored.zeros(cells, factors.shape))
        if isinstance(integers, Refusal):
            return integers
        parameters[_INTEGERS] = integers
    if axis is not None and stored.zero_point is not None:
        zero_point = np.broadcast_to(stored.zero_point, factors.shape)
        parameters[_ZERO_POINT] = NewParameter(zero_point.astype(np.float64), np.array(zero_point))
    return Requantized(stored.node, quantized.through, slot, parameters, axis, factors)


def new_scales(node: OnnxNode, exact: Array, dtype: np.dtype[np.generic]) -> NewParameter | Refusal:
    """Scales of integers in this type; OVERFLOW or UNDERFLOW where it cannot hold them.

    Args:
        node: that has them.
        exact: float64, before rounding.
        dtype: of the scales.
    """
    scale = new_parameter(exact, dtype)
    if isinstance(scale, Refusal):
        return scale
    tiny = (np.abs(scale.rounded) < ml_dtypes.finfo(dtype).smallest_normal) & (exact != 0)
    if not tiny.any():
        return scale
    return Refusal(Reason.UNDERFLOW, f"{int(np.sum(tiny))} scales of {node.label!r} would be too small")


def _mirrored(stored: _Stored, signs: Array, zeros: npt.NDArray[np.int64]) -> NewParameter | Refusal:
    """The integers times the sign of their factor, counted from their zero point."""
    dtype = stored.integers.dtype
    if dtype.kind not in "iu" and not _is_small_integer(dtype):
        values = stored.integers.astype(np.float64) * signs
        return NewParameter(values, values.astype(dtype))
    moved = zeros + signs.astype(np.int64) * (stored.integers.astype(np.int64) - zeros)
    least, most = _range(dtype)
    beyond = int(((moved < least) | (moved > most)).sum())
    if beyond:
        return Refusal(
            Reason.QUANTIZED,
            f"{beyond} of {moved.size} integers of {stored.node.label!r} have no mirror image in {dtype}, and a scale "
            "of the map is negative",
        )
    return NewParameter(moved.astype(np.float64), moved.astype(dtype))


def _is_small_integer(dtype: np.dtype[np.generic]) -> bool:
    return dtype.name in ("int2", "uint2", "int4", "uint4")


def _range(dtype: np.dtype[np.generic]) -> tuple[int, int]:
    limits = ml_dtypes.iinfo(dtype)
    return int(limits.min), int(limits.max)
