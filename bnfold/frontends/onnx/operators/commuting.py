"""Activations, pooling, resampling and reductions: operators without weights that scales or shifts pass."""

from collections.abc import Callable

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.ramps import leaky_relu, ramp, relu
from bnfold.frontends.common.reductions import places_summed
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output, pooled
from bnfold.refusal import Reason
from bnfold.semantics import Commuting, NoShift

FAMILY = Family()

_NORM_KEEPS_NONE = NoShift("a norm keeps no shift")
_POOLS = Traits(tell_output_shape=pooled, tell_input_shape=like_first_output)


@FAMILY.operator("Abs", (6, 13))
@FAMILY.operator("LeakyRelu", (6, 16))
@FAMILY.operator("PRelu", (7, 9, 16))
@FAMILY.operator(
    "Relu",
    (6, 13, 14),
    traits=Traits(per_number=True, tell_output_shape=like_first_input, tell_input_shape=like_first_output),
)
def decode_ramp(context: OnnxContext) -> Commuting:
    """Relu, LeakyRelu, PRelu, Abs: f(s * x) == s * f(x) for s >= 0.

    Source: ONNX Relu-6 to -14, LeakyRelu-6, -16, PRelu-7 to -16, Abs-6, -13.
    """
    return ramp(len(context.shape(0)), context.node.op, _of_constants(context))


def _of_constants(context: OnnxContext) -> Callable[[Array], Array] | None:
    match context.node.op:
        case "Relu":
            return relu
        case "Abs":
            return np.abs
        case "LeakyRelu":
            return leaky_relu(context.attribute("alpha", 0.01))
    return None  # the slopes of a PRelu are a tensor


@FAMILY.operator("Neg", (6, 13))
def decode_neg(context: OnnxContext) -> Commuting:
    """-(s * x + t) == s * (-x) - t. Source: ONNX Neg-13."""
    return Commuting(len(context.shape(0)), shift_factor=-1.0)


@FAMILY.operator("AveragePool", (7, 10, 11, 19, 22), traits=_POOLS)
def decode_average_pool(context: OnnxContext) -> Commuting:
    """AveragePool: zeros of the padding count where count_include_pad is 1. Source: ONNX AveragePool-7 to -22."""
    rank = len(context.shape(0))
    counts_padding = context.attribute("count_include_pad", 0) and _may_pad(context)
    return Commuting(
        rank,
        mixed_axes=tuple(range(2, rank)),
        shift_factor=NoShift("the average counts the zeros of the padding") if counts_padding else 1.0,
    )


@FAMILY.operator("GlobalAveragePool", (1, 22), traits=_POOLS)
def decode_global_average_pool(context: OnnxContext) -> Commuting:
    """Source: ONNX GlobalAveragePool-1, -22."""
    rank = len(context.shape(0))
    return Commuting(rank, mixed_axes=tuple(range(2, rank)))


@FAMILY.operator("GlobalMaxPool", (1, 22), traits=_POOLS)
@FAMILY.operator("MaxPool", (1, 8, 10, 11, 12, 22), traits=_POOLS)
def decode_max_pool(context: OnnxContext) -> Commuting:
    """MaxPool, GlobalMaxPool: padding is minus infinity. Source: ONNX MaxPool-1 to -22, GlobalMaxPool-1, -22."""
    indices = context.node.outputs[1] if len(context.node.outputs) > 1 else None
    if indices is not None and (indices.readers or indices.is_output):
        raise Undecodable(Reason.NOT_LINEAR, "the places of the maxima are read, and equal scales could move them")
    rank = len(context.shape(0))
    return Commuting(rank, mixed_axes=tuple(range(2, rank)), needs_non_negative_scale=True)


@FAMILY.operator("LpPool", (2, 11, 18, 22), traits=_POOLS)
@FAMILY.operator("GlobalLpPool", (2, 22), traits=_POOLS)
def decode_lp_pool(context: OnnxContext) -> Commuting:
    """LpPool, GlobalLpPool: norms of places. Source: ONNX LpPool-2 to -22, GlobalLpPool-2 to -22."""
    rank = len(context.shape(0))
    return Commuting(
        rank, mixed_axes=tuple(range(2, rank)), shift_factor=_NORM_KEEPS_NONE, needs_non_negative_scale=True
    )


@FAMILY.operator("ReduceL1", (1, 11, 13, 18))
@FAMILY.operator("ReduceL2", (1, 11, 13, 18))
def decode_norm(context: OnnxContext) -> Commuting:
    """A norm of s * x is s times that of x, for s >= 0. Source: ONNX ReduceL1-1 to -18, ReduceL2-1 to -18."""
    return _reduction(context, shift_factor=_NORM_KEEPS_NONE, needs_non_negative_scale=True)


@FAMILY.operator("ReduceMean", (1, 11, 13, 18))
def decode_reduce_mean(context: OnnxContext) -> Commuting:
    """Source: ONNX ReduceMean-1 to -18."""
    return _reduction(context, shift_factor=1.0)


@FAMILY.operator("ReduceMax", (1, 11, 12, 13, 18, 20))
@FAMILY.operator("ReduceMin", (1, 11, 12, 13, 18, 20))
def decode_reduce_extreme(context: OnnxContext) -> Commuting:
    """ReduceMax and ReduceMin. Source: ONNX ReduceMax-1 to -20, ReduceMin-1 to -20."""
    return _reduction(context, shift_factor=1.0, needs_non_negative_scale=True)


@FAMILY.operator("ReduceSum", (1, 11, 13))
def decode_reduce_sum(context: OnnxContext) -> Commuting:
    """A shift comes out once for every place summed. Source: ONNX ReduceSum-1, -11, -13."""
    shape = context.shape(0)
    return _reduction(context, shift_factor=places_summed(shape, _reduced_axes(context)))


@FAMILY.operator("CumSum", (11, 14))
def decode_cum_sum(context: OnnxContext) -> Commuting:
    """CumSum: the shift would grow along the axis. Source: ONNX CumSum-11, -14."""
    rank = len(context.shape(0))
    (axis,) = context.integers(1)
    return Commuting(rank, mixed_axes=(axis % rank,), shift_factor=NoShift("a cumulative sum adds the shift up"))


@FAMILY.operator("Resize", (10, 11, 13, 18, 19))
@FAMILY.operator("Upsample", (7, 9))
def decode_resize(context: OnnxContext) -> Commuting:
    """Resize and Upsample: every place of y is a weighted mean of places of x.

    Source: ONNX Resize-10 to -19, Upsample-7, -9.
    """
    node = context.node
    rank = len(context.shape(0))
    axes = [axis % rank for axis in attribute(node, "axes", None) or range(rank)]
    resampled = _resampled_axes(context, axes)
    if attribute(node, "coordinate_transformation_mode", b"half_pixel") != b"tf_crop_and_resize":
        return Commuting(rank, mixed_axes=resampled)
    if attribute(node, "extrapolation_value", 0.0) != 0.0:
        raise Undecodable(Reason.NOT_LINEAR, "places outside of the tensor get a constant other than 0")
    bounds = context.parameter(1, dynamic=Reason.DYNAMIC_PARAMETER).reshape(2, len(axes))
    cropped = {axis for axis, start, stop in zip(axes, *bounds, strict=True) if (start, stop) != (0, 1)}
    return Commuting(
        rank,
        mixed_axes=tuple(sorted({*resampled, *cropped})),
        shift_factor=NoShift("places outside get zeros"),
    )


def _resampled_axes(context: OnnxContext, axes: list[int]) -> tuple[int, ...]:
    """Axes along which places are mixed; equal lengths prove nothing, because 4 * 1.2 is rounded down to 4."""
    node = context.node
    factors = _factors(context)
    if factors:
        return tuple(axis for axis, factor in zip(axes, factors, strict=True) if factor != 1.0)
    if attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return tuple(axes)
    shape = context.shape(0)
    result = node.outputs[0].shape if node.outputs[0] is not None else None
    if result is None or len(result) != len(shape):
        return tuple(axes)
    return tuple(axis for axis in axes if shape[axis] is None or shape[axis] != result[axis])


def _factors(context: OnnxContext) -> list[float]:
    """The scales of a Resize or Upsample; none where it has sizes instead."""
    slot = 1 if context.node.opset < 11 else 2
    if context.input(slot) is None:
        return list(context.attribute("scales", ()))
    values = context.parameter(slot, dynamic=Reason.UNKNOWN_SHAPE)
    return [float(value) for value in values.reshape(-1)]


def _reduction(
    context: OnnxContext, *, shift_factor: float | NoShift, needs_non_negative_scale: bool = False
) -> Commuting:
    axes = _reduced_axes(context)
    return Commuting(
        len(context.shape(0)),
        mixed_axes=axes,
        removed_axes=() if context.attribute("keepdims", 1) else axes,
        shift_factor=shift_factor,
        needs_non_negative_scale=needs_non_negative_scale,
    )


def _reduced_axes(context: OnnxContext) -> tuple[int, ...]:
    rank = len(context.shape(0))
    axes = context.axes()
    if not axes:
        return () if context.attribute("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted({axis % rank for axis in axes}))


def _may_pad(context: OnnxContext) -> bool:
    automatic = context.attribute("auto_pad", b"NOTSET")
    explicit = any(context.attribute("pads", None) or ())
    return explicit or automatic.startswith(b"SAME") or bool(context.attribute("ceil_mode", 0))
