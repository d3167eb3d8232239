"""Activations, pooling, padding, resampling and reductions: operators without weights that scales or shifts pass."""

import re
from collections.abc import Callable

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.choices import choice
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.ramps import leaky_relu, ramp, relu
from bnfold.frontends.common.reductions import places_summed
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import Choice, Commuting, NoShift, Opaque

FAMILY = AtenFamily()


@FAMILY.operator(
    *"""
    celu clamp clamp_max clamp_min clip cos elu erf exp gelu hardsigmoid hardswish hardtanh log log_sigmoid mish
    reciprocal relu6 round rsqrt selu sigmoid sign silu sin softplus sqrt square tan tanh threshold
    """.split(),  # noqa: SIM905 - a list of strings would take many lines
    keeps=Keeps.ALL,
)
@FAMILY.operator("glu", "pow")
def decode_nonlinear(call: AtenCall) -> Opaque:
    """Known to let neither a scale nor a shift through."""
    return Opaque(Reason.NOT_LINEAR, f"{call.node.operator.functional} is not linear")


@FAMILY.operator("relu", "leaky_relu", "abs", "_prelu_kernel", keeps=Keeps.ALL)
@FAMILY.operator("prelu", converts_in_autocast=True, keeps=Keeps.ALL)
def decode_ramp(call: AtenCall) -> Commuting:
    """relu, leaky_relu, prelu, abs: f(s * x) == s * f(x) for s >= 0."""
    return ramp(len(call.shape("self")), call.node.op, _of_constants(call), call.source("self"))


def _of_constants(call: AtenCall) -> Callable[[Array], Array] | None:
    match call.node.operator.functional:
        case "aten::relu":
            return relu
        case "aten::abs":
            return np.abs
        case "aten::leaky_relu":
            return leaky_relu(float(call.fixed("negative_slope")))
    return None  # the slopes of a prelu are a tensor


@FAMILY.operator("neg", "negative", keeps=Keeps.ALL)
def decode_neg(call: AtenCall) -> Commuting:
    """-(s * x + t) == s * (-x) - t."""
    return Commuting(len(call.shape("self")), shift_factor=-1.0)


@FAMILY.operator("avg_pool1d", "avg_pool2d", "avg_pool3d", keeps=Keeps.ALL)
def decode_average_pool(call: AtenCall) -> Commuting:
    """avg_pool1d, 2d, 3d: zeros of the padding count, unless count_include_pad is off.

    Source: torch.nn.AvgPool2d
    """
    padding = call.fixed("padding")
    pads = any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
    factor: float | NoShift = 1.0
    if pads and call.fixed("count_include_pad"):
        factor = NoShift("the average counts the zeros of the padding")
    if call.has("divisor_override"):
        factor = NoShift("the sum is divided by a number of its own")
    rank = len(call.shape("self"))
    return Commuting(rank, _spatial(call, rank), shift_factor=factor)


@FAMILY.operator(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    keeps=Keeps.ALL,
)
def decode_adaptive_average_pool(call: AtenCall) -> Commuting:
    """Each place is a mean of places. Source: torch.nn.AdaptiveAvgPool2d."""
    rank = len(call.shape("self"))
    return Commuting(rank, _spatial(call, rank))


@FAMILY.operator(
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    keeps=Keeps.ALL,
)
def decode_max_pool(call: AtenCall) -> Commuting:
    """max_pool and adaptive_max_pool; padding is minus infinity. Source: torch.nn.MaxPool2d."""
    _refuse_read_places(call)
    rank = len(call.shape("self"))
    return Commuting(rank, _spatial(call, rank), needs_non_negative_scale=True)


@FAMILY.operator("mean")
def decode_mean(call: AtenCall) -> Commuting:
    """Source: torch.mean."""
    return _reduction(call, shift_factor=1.0)


@FAMILY.operator("sum")
def decode_sum(call: AtenCall) -> Commuting:
    """A shift comes out once for every place summed. Source: torch.sum."""
    shape = call.shape("self")
    return _reduction(call, shift_factor=places_summed(shape, _reduced_axes(call)))


@FAMILY.operator("amax", "amin", "max", "min")
def decode_extreme(call: AtenCall) -> Choice | Commuting:
    """amax, amin, max and min: of one tensor, or of two. Source: torch.amax, torch.max."""
    if call.has("other"):
        return choice(call, by_size=True)
    _refuse_read_places(call)
    return _reduction(call, shift_factor=1.0, needs_non_negative_scale=True)


@FAMILY.operator("cumsum")
def decode_cumsum(call: AtenCall) -> Commuting:
    """The shift would grow along the axis. Source: torch.cumsum."""
    rank = len(call.shape("self"))
    return Commuting(rank, (call.axis("dim", rank),), shift_factor=NoShift("a cumulative sum adds the shift up"))


@FAMILY.operator("pad", keeps=Keeps.ALL)
def decode_pad(call: AtenCall) -> Commuting:
    """Padding in a mode. Source: torch.nn.functional.pad."""
    return decode_constant_pad(call) if call.fixed("mode") == "constant" else decode_copying_pad(call)


@FAMILY.operator(
    "reflection_pad1d",
    "reflection_pad2d",
    "reflection_pad3d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    keeps=Keeps.ALL,
)
def decode_copying_pad(call: AtenCall) -> Commuting:
    """reflection_pad, replication_pad: the tensor's own values. Source: torch.nn.ReflectionPad2d."""
    rank, padded = _padded_axes(call)
    return Commuting(rank, padded)


@FAMILY.operator("constant_pad_nd", keeps=Keeps.ALL)
def decode_constant_pad(call: AtenCall) -> Commuting:
    """constant_pad_nd. Source: torch.nn.ConstantPad2d."""
    rank, padded = _padded_axes(call)
    if not padded:
        return Commuting(rank, padded)
    if call.has("value") and float(call.fixed("value")) != 0.0:
        raise Undecodable(Reason.NOT_LINEAR, "the tensor is padded with a constant other than 0")
    return Commuting(rank, padded, shift_factor=NoShift("zeros are padded, and would be shifted too"))


def _padded_axes(call: AtenCall) -> tuple[int, tuple[int, ...]]:
    """The rank, and the axes with pads; pads go from the last axis backwards."""
    pads = call.fixed("pad" if call.has("pad") else "padding")
    rank = len(call.shape("self"))
    if len(pads) % 2 or len(pads) > 2 * rank:
        raise malformed(f"{call.node.op} has {len(pads)} pads for rank {rank}")
    pairs = zip(pads[::2], pads[1::2], strict=True)
    return rank, tuple(sorted(rank - 1 - place for place, pair in enumerate(pairs) if any(pair)))


@FAMILY.operator(
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    keeps=Keeps.ALL,
)
def decode_upsample(call: AtenCall) -> Commuting:
    """Every place is a weighted mean of places. Source: torch.nn.functional.interpolate."""
    rank = len(call.shape("self" if "self" in call.node.arguments else "input"))
    return Commuting(rank, _spatial(call, rank))


def _spatial(call: AtenCall, rank: int) -> tuple[int, ...]:
    """The last axes, as many as the operator's name says."""
    digit = re.search(r"([123])d", call.node.op)
    if digit is None:
        raise malformed(f"{call.node.op} does not say how many axes it works on")
    return tuple(range(rank - int(digit.group(1)), rank))


def _reduction(call: AtenCall, *, shift_factor: float | NoShift, needs_non_negative_scale: bool = False) -> Commuting:
    axes = _reduced_axes(call)
    keeps = "keepdim" in call.node.arguments and call.fixed("keepdim")
    return Commuting(
        len(call.shape("self")),
        mixed_axes=axes,
        removed_axes=() if keeps else axes,
        shift_factor=shift_factor,
        needs_non_negative_scale=needs_non_negative_scale,
    )


def _reduced_axes(call: AtenCall) -> tuple[int, ...]:
    """No axes means all."""
    rank = len(call.shape("self"))
    axes = call.axes("dim", rank) if "dim" in call.node.arguments else None
    return axes or tuple(range(rank))


def _refuse_read_places(call: AtenCall) -> None:
    if any(value.readers or value.is_output for value in call.node.outputs[1:] if value is not None):
        raise Undecodable(Reason.NOT_LINEAR, "the places of the maxima are read, and equal scales could move them")
