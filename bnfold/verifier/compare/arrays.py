"""One output of one sample against the other model's: structure first, then values.

Types, dtypes and shapes must be equal before any arithmetic is done: numpy would broadcast (1, 3) against (3,) and
find nothing wrong. NaN and infinity must stand in the same places. Differences of floating point values are taken in
float64; integers, booleans and strings are equal or not.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FLOATS = frozenset(np.dtype(kind) for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16))


@dataclass(frozen=True)
class Difference:
    """How far b is from a, for one tensor.

    Attributes:
        dtype: of a.
        max_abs: largest |a - b| over the finite values; NaN where the values could not be compared.
        magnitude: largest finite |a|; NaN for strings.
        error: what a tolerance bounds: max_rel of floating point values, the share of unequal values of others.
        values: how many there are.
        problem: what is wrong whatever the tolerance, empty if nothing is.
    """

    dtype: "np.dtype[Any]"
    max_abs: float
    magnitude: float
    error: float
    values: int
    problem: str = ""

    @property
    def max_rel(self) -> float:
        """max_abs in units of the magnitude."""
        return _ratio(self.max_abs, self.magnitude)

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if self.dtype not in FLOATS:
            return f"{round(self.error * self.values)} of {self.values} values differ"
        return f"max |a - b| is {self.max_abs:.3g}, {self.max_rel:.2g} of max |a|"


def differences(a: object, b: object) -> list[Difference]:
    """One Difference per tensor in an output; an output that is a sequence or a map holds several, or none.

    Where the structures differ, the list holds one Difference that says so.
    """
    problem = _structure_difference(a, b)
    if problem:
        return [_incomparable(problem)]
    return [_tensor_difference(left, right) for left, right in zip(tensors(a), tensors(b), strict=True)]


def _incomparable(problem: str) -> Difference:
    return Difference(np.dtype(object), max_abs=math.nan, magnitude=math.nan, error=math.inf, values=0, problem=problem)


def _ratio(part: float, whole: float) -> float:
    """0 / 0 is no difference; anything else / 0 is more than any tolerance."""
    if part == 0:
        return 0.0
    return part / whole if whole != 0 else math.inf


def _structure_difference(a: object, b: object) -> str:
    """What differs apart from values, "" if nothing: kind of container, length, keys, dtype, shape."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _array_structure_difference(a, b)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"a sequence of {len(b)} against {len(a)}"
        return next(filter(None, map(_structure_difference, a, b)), "")
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return "a map with other keys"
        return next(filter(None, map(_structure_difference, a.values(), b.values())), "")
    if type(a) is not type(b):
        return f"{type(b).__name__} against {type(a).__name__}"
    return "" if isinstance(a, (int, float, str, type(None))) else f"{type(a).__name__} cannot be compared"


def _array_structure_difference(a: Array, b: Array) -> str:
    if a.dtype != b.dtype:
        return f"dtype {b.dtype} against {a.dtype}"
    if a.shape != b.shape:
        return f"shape {b.shape} against {a.shape}"
    if a.dtype not in FLOATS and a.dtype.kind not in "biuOU":
        return f"dtype {a.dtype} cannot be compared"
    return ""


def tensors(value: object) -> Iterator[Array]:
    """Every tensor in an output, depth first; an absent optional has none."""
    if isinstance(value, list):
        for element in value:
            yield from tensors(element)
    elif isinstance(value, dict):
        for element in value.values():
            yield from tensors(element)
    elif isinstance(value, float):
        yield np.asarray(value, np.float32)  # onnxruntime widens the float32 values of a map
    elif value is not None:
        yield np.asarray(value)


def _tensor_difference(a: Array, b: Array) -> Difference:
    if a.dtype in FLOATS:
        return _float_difference(a.dtype, a.astype(np.float64), b.astype(np.float64))
    unequal = a != b
    share = _ratio(float(np.count_nonzero(unequal)), a.size)
    if a.dtype.kind in "OU":
        return Difference(a.dtype, math.nan if share else 0.0, math.nan, share, a.size)
    # Python's integers: uint64 has values that float64 has not, and int8 has no room for -128 - 127.
    apart = np.abs(a[unequal].astype(object) - b[unequal].astype(object))
    magnitude = float(np.max(np.abs(a.astype(np.float64)), initial=0))
    return Difference(a.dtype, float(max(apart, default=0)), magnitude, share, a.size)


def _float_difference(dtype: "np.dtype[Any]", a: Array, b: Array) -> Difference:
    comparable = np.isfinite(a) & np.isfinite(b)
    with np.errstate(over="ignore"):  # two finite float64 may be infinitely far apart
        max_abs = float(np.max(np.abs(a[comparable] - b[comparable]), initial=0))
    magnitude = float(np.max(np.abs(a[np.isfinite(a)]), initial=0))
    problem = non_finite_difference(a, b)
    return Difference(dtype, max_abs, magnitude, _ratio(max_abs, magnitude), a.size, problem)


def non_finite_difference(a: Array, b: Array) -> str:
    """Where NaN and infinities came or went, in words; "" where they stand in the same places."""
    if np.isfinite(a).all() and np.isfinite(b).all():
        return ""
    counts = {
        "NaN in {} where the original has none": np.isnan(b) & ~np.isnan(a),
        "no NaN in {} where the original has it": np.isnan(a) & ~np.isnan(b),
        "infinity in {} where the original has other values": np.isinf(b) & (a != b) & ~np.isnan(a),
        "finite numbers in {} where the original overflows": np.isinf(a) & np.isfinite(b),
    }
    return ", ".join(what.format(_places(count)) for what, at in counts.items() if (count := int(np.count_nonzero(at))))


def _places(count: int) -> str:
    return f"{count} place{'' if count == 1 else 's'}"
