"""The one rounding: from float64 to the type that the file stores."""

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.refusal import Reason, Refusal

AnyArray = npt.NDArray[np.generic]

# A channel whose largest weight is known to less than six bits has lost what training put there.
_WORST_RELATIVE_LOSS = 2.0**-6


def round_parameter(values: Array, dtype: np.dtype[np.generic]) -> AnyArray | Refusal:
    """Round a parameter to its stored type, once.

    Args:
        values: float64, any shape.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        The rounded array, or OVERFLOW where a value exceeds the largest finite number of the type.
    """
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(dtype)
    if not np.isfinite(rounded.astype(np.float64)).all():
        limit = float(ml_dtypes.finfo(dtype).max)
        worst = float(np.abs(values).max())
        return Refusal(Reason.OVERFLOW, f"the folded parameter reaches {worst:.4g}, the largest {dtype} is {limit:.4g}")
    return rounded


def round_weight(weight: Array, dtype: np.dtype[np.generic]) -> AnyArray | Refusal:
    """Round a weight of shape (groups, outputs, ...) as `round_parameter` does, and judge each output channel.

    Returns:
        The rounded array; OVERFLOW as above; or UNDERFLOW where a whole output channel is so small that its weights
        would be stored with less than six bits.
    """
    rounded = round_parameter(weight, dtype)
    if isinstance(rounded, Refusal):
        return rounded
    inner = tuple(range(2, weight.ndim))
    error = np.abs(weight - rounded.astype(np.float64)).max(axis=inner, initial=0.0).reshape(-1)
    largest = np.abs(weight).max(axis=inner, initial=0.0).reshape(-1)
    lost = np.flatnonzero(error > _WORST_RELATIVE_LOSS * largest)
    if lost.size:
        smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
        return Refusal(
            Reason.UNDERFLOW,
            f"{lost.size} of {largest.size} channels fall far below {smallest:.3g}, the smallest normal {dtype}: "
            f"max |weight| {largest[lost[0]]:.3g} in channel {lost[0]}",
        )
    return rounded
