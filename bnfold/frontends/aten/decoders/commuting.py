"""Activations, pooling, padding, resampling and reductions: operators without weights that scales or shifts pass."""

import re

from bnfold.frontends.aten.decoders.context import Context
from bnfold.frontends.common.reductions import places_summed, reduction
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import Commuting


def decode_ramp(context: Context) -> Commuting:
    """relu, leaky_relu, prelu, abs: f(s * x) == s * f(x) for s >= 0."""
    return Commuting(
        len(context.shape("self")),
        needs_non_negative_scale=True,
        shift_factor=None,
        why_no_shift=f"{context.node.op} bends at zero, and a shift moves the bend",
        source=context.source("self"),
    )


def decode_neg(context: Context) -> Commuting:
    """-(s * x + t) == s * (-x) - t."""
    return Commuting(len(context.shape("self")), shift_factor=-1.0)


def decode_average_pool(context: Context) -> Commuting:
    """avg_pool1d, 2d, 3d: zeros of the padding count, unless count_include_pad is off.

    Source: torch.nn.AvgPool2d
    """
    padding = context.fixed("padding")
    pads = any(padding) if isinstance(padding, (list, tuple)) else bool(padding)
    why = ""
    if pads and context.fixed("count_include_pad"):
        why = "the average counts the zeros of the padding"
    if context.has("divisor_override"):
        why = "the sum is divided by a number of its own"
    rank = len(context.shape("self"))
    return Commuting(rank, _spatial(context, rank), shift_factor=None if why else 1.0, why_no_shift=why)


def decode_adaptive_average_pool(context: Context) -> Commuting:
    """Each place is a mean of places. Source: torch.nn.AdaptiveAvgPool2d."""
    rank = len(context.shape("self"))
    return Commuting(rank, _spatial(context, rank))


def decode_max_pool(context: Context) -> Commuting:
    """max_pool and adaptive_max_pool; padding is minus infinity. Source: torch.nn.MaxPool2d."""
    _refuse_read_places(context)
    rank = len(context.shape("self"))
    return Commuting(rank, _spatial(context, rank), needs_non_negative_scale=True)


def decode_mean(context: Context) -> Commuting:
    """Source: torch.mean."""
    return _reduction(context, shift_factor=1.0)


def decode_sum(context: Context) -> Commuting:
    """A shift comes out once for every place summed. Source: torch.sum."""
    shape = context.shape("self")
    return _reduction(context, shift_factor=places_summed(shape, _reduced_axes(context)))


def decode_extreme(context: Context) -> Commuting:
    """amax, amin, and max and min of one tensor. Source: torch.amax, torch.max."""
    if context.has("other"):
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} of two tensors is not linear")
    _refuse_read_places(context)
    return _reduction(context, shift_factor=1.0, needs_non_negative_scale=True)


def decode_cumsum(context: Context) -> Commuting:
    """The shift would grow along the axis. Source: torch.cumsum."""
    rank = len(context.shape("self"))
    return Commuting(
        rank, (context.axis("dim", rank),), shift_factor=None, why_no_shift="a cumulative sum adds the shift up"
    )


def decode_pad(context: Context) -> Commuting:
    """pad, constant_pad_nd, reflection_pad, replication_pad; pads go from the last axis backwards.

    Source: torch.nn.functional.pad
    """
    pads = context.fixed("pad" if context.has("pad") else "padding")
    rank = len(context.shape("self"))
    if len(pads) % 2 or len(pads) > 2 * rank:
        raise malformed(f"{context.node.op} has {len(pads)} pads for rank {rank}")
    pairs = zip(pads[::2], pads[1::2], strict=True)
    padded = tuple(sorted(rank - 1 - place for place, pair in enumerate(pairs) if any(pair)))
    constant = context.node.op == "aten::constant_pad_nd" or (
        context.node.op == "aten::pad" and context.fixed("mode") == "constant"
    )
    if not constant or not padded:
        return Commuting(rank, padded)
    if context.has("value") and float(context.fixed("value")) != 0.0:
        raise Undecodable(Reason.NOT_LINEAR, "the tensor is padded with a constant other than 0")
    return Commuting(rank, padded, shift_factor=None, why_no_shift="zeros are padded, and would be shifted too")


def decode_upsample(context: Context) -> Commuting:
    """Every place is a weighted mean of places. Source: torch.nn.functional.interpolate."""
    rank = len(context.shape("self" if "self" in context.node.arguments else "input"))
    return Commuting(rank, _spatial(context, rank))


def _spatial(context: Context, rank: int) -> tuple[int, ...]:
    """The last axes, as many as the operator's name says."""
    digit = re.search(r"([123])d", context.node.op)
    if digit is None:
        raise malformed(f"{context.node.op} does not say how many axes it works on")
    return tuple(range(rank - int(digit.group(1)), rank))


def _reduction(context: Context, *, shift_factor: float | None, needs_non_negative_scale: bool = False) -> Commuting:
    axes = _reduced_axes(context)
    keeps = "keepdim" in context.node.arguments and context.fixed("keepdim")
    return reduction(
        len(context.shape("self")),
        axes,
        () if keeps else axes,
        shift_factor=shift_factor,
        needs_non_negative_scale=needs_non_negative_scale,
    )


def _reduced_axes(context: Context) -> tuple[int, ...]:
    """No axes means all."""
    rank = len(context.shape("self"))
    axes = context.axes("dim", rank) if "dim" in context.node.arguments else None
    return axes or tuple(range(rank))


def _refuse_read_places(context: Context) -> None:
    if any(value.readers or value.is_output for value in context.node.outputs[1:] if value is not None):
        raise Undecodable(Reason.NOT_LINEAR, "the places of the maxima are read, and equal scales could move them")
