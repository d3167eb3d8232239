"""Rounding from float64 to the type that the file stores: the only place where a fold rounds."""

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.refusal import Reason, Refusal
from bnfold.weight import Weight

AnyArray = npt.NDArray[np.generic]

# A channel whose largest weight is known to less than six bits has lost what training put there.
_WORST_RELATIVE_LOSS = 2.0**-6
_LARGEST_FLOAT16 = 65504.0


def significand(dtype: np.dtype[np.generic]) -> int:
    """How many bits the significand of a floating-point type has, the first one included: 24 of float32."""
    return int(ml_dtypes.finfo(dtype).nmant) + 1


def round_parameter(values: Array, dtype: np.dtype[np.generic]) -> AnyArray | Refusal:
    """Round a parameter to its stored type, once.

    Args:
        values: float64, any shape.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        The rounded array, or OVERFLOW where a value exceeds the largest finite number of the type.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = _nearest(values, dtype)
    return rounded if np.isfinite(rounded.astype(np.float64)).all() else _overflow(values, dtype)


def _nearest(values: Array, dtype: np.dtype[np.generic]) -> AnyArray:
    """The nearest numbers of a type."""
    return (_to_odd_float32(values) if dtype == ml_dtypes.bfloat16 else values).astype(dtype)


def _overflow(values: Array, dtype: np.dtype[np.generic]) -> Refusal:
    limit = float(ml_dtypes.finfo(dtype).max)
    worst = float(np.abs(values).max())
    return Refusal(Reason.OVERFLOW, f"the folded parameter reaches {worst:.4g}, the largest {dtype} is {limit:.4g}")


def _to_odd_float32(values: Array) -> npt.NDArray[np.float32]:
    """Round to float32 so that a second rounding, to fewer bits, errs no more than one rounding would.

    Toward zero, and with the last bit set wherever something was cut off: such a value is never halfway between two
    numbers of the shorter type. Source: Boldo and Melquiond 2008, https://doi.org/10.1109/TC.2007.70819
    """
    nearest = values.astype(np.float32)
    toward_zero = np.where(np.abs(nearest) > np.abs(values), np.nextafter(nearest, np.float32(0)), nearest)
    bits = toward_zero.astype(np.float32).view(np.uint32)
    return np.where(toward_zero == values, bits, bits | 1).astype(np.uint32).view(np.float32)


def dead_channels(weight: Array, bias: Array | None, dtype: np.dtype[np.generic]) -> npt.NDArray[np.bool_]:
    """Which output channels are their bias alone, whatever numbers come in.

    What the weights of a dead channel can add is lost in the rounding of the bias, or to 0 where that is 0. Inputs
    count up to 65504, which is all of float16, and in wider types as far as their squares are finite (1.8e19 in
    float32).

    Law:  sum |w| * max(65504, sqrt(largest)) <= max(|b| * eps, smallest subnormal * 2) / 4

    Args:
        weight: (groups, outputs, ...), float64.
        bias: one per output channel, or one for all; None for 0.
        dtype: of what comes in and goes out.

    Returns:
        (groups * outputs,)
    """
    limits = ml_dtypes.finfo(dtype)
    furthest = max(_LARGEST_FLOAT16, float(limits.max) ** 0.5)
    reach = np.abs(weight).sum(axis=tuple(range(2, weight.ndim))).reshape(-1) * furthest
    last_bit = 0.0 if bias is None else np.abs(bias) * float(limits.eps)
    return np.asarray(reach <= np.maximum(last_bit, float(limits.smallest_subnormal) * 2) / 4)


def judge_rows(
    weight: Weight, dtype: np.dtype[np.generic], dead: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_] | Refusal:
    """Judge what rounding to a type leaves of each output channel of a weight.

    Args:
        weight: exact.
        dtype: float16, bfloat16, float32 or float64.
        dead: (groups * outputs,), see `dead_channels`.

    Returns:
        (groups * outputs,), the channels that become 0: those that are lost and dead; OVERFLOW as `round_parameter`; or
        UNDERFLOW where another channel is so small that its weights would be stored with less than six bits.
    """
    largest = weight.rows.largest
    rounded_largest = round_parameter(largest, dtype)
    if isinstance(rounded_largest, Refusal):
        return rounded_largest
    is_lost = _lost_rows(weight, dtype)
    is_dead = np.zeros_like(is_lost) if dead is None else is_lost & dead
    lost = np.flatnonzero(is_lost & ~is_dead)
    if lost.size:
        smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
        return Refusal(
            Reason.UNDERFLOW,
            f"far below {smallest:.3g}, the smallest normal {dtype}, in {lost.size} of {largest.size} channels: "
            f"max |weight| {largest[lost[0]]:.3g} in channel {lost[0]}",
        )
    return is_dead


def rounded_rows(
    weight: Weight, dtype: np.dtype[np.generic], dead: npt.NDArray[np.bool_]
) -> Iterator[tuple[slice, AnyArray]]:
    """The rows of a weight in a type that has room for all numbers, some at a time.

    Args:
        weight: exact.
        dtype: of the rows.
        dead: (groups * outputs,), the rows that become 0.
    """
    for some, exact in weight.pieces():
        with np.errstate(under="ignore"):
            rounded = _nearest(exact, dtype)
        if dead[some].any():
            rounded[dead[some]] = 0
        yield some, rounded


def _lost_rows(weight: Weight, dtype: np.dtype[np.generic]) -> npt.NDArray[np.bool_]:
    """Which rows lose too much.

    Rows that reach a normal number of the type lose half a unit of that at most, so the errors of others are looked at.
    """
    largest = weight.rows.largest
    is_small = (largest > 0) & (largest < float(ml_dtypes.finfo(dtype).smallest_normal))
    is_lost = np.zeros(weight.channels, np.bool_)
    if not is_small.any():
        return is_lost
    inner = tuple(range(1, weight.ndim - 1))
    with np.errstate(under="ignore"):
        for some, exact in weight.pieces():
            if is_small[some].any():
                error = np.abs(exact - _nearest(exact, dtype).astype(np.float64)).max(axis=inner, initial=0.0)
                is_lost[some] = is_small[some] & (error > _WORST_RELATIVE_LOSS * largest[some])
    return is_lost
