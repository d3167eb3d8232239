"""Half units of the last place of stored numbers, and moves by them up or down."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.verifier.compare.arrays import FLOATS

Array: TypeAlias = npt.NDArray[Any]

_MOST_AT_A_TIME = 2**16
"""Numbers that are moved in the processor's cache: memory that is new to a process costs more than the arithmetic."""


def wide(held: Any) -> Any:  # noqa: ANN401 - an array, a number or a list
    """An array of floating-point numbers in float64, of complex ones in complex128; all else as it is."""
    return held.astype(np.complex128 if held.dtype.kind == "c" else np.float64) if is_number(held) else held


def half_unit(held: Array) -> Array:
    """Half a unit of the last place of every number, in float64.

    Args:
        held: floating-point, in its own type.
    """
    powers = _powers(held).astype(np.float64)
    powers *= _of_a_power(held)
    return powers


def _powers(held: Array) -> Array:
    """The power of two at or below the size of every number, and the smallest normal number for those below it."""
    kind: Any = ml_dtypes.finfo(held.dtype)  # type: ignore[no-untyped-call]
    # It is what the bits of the exponent alone say; those of infinity are all ones.
    bits = np.dtype(f"u{held.dtype.itemsize}")
    exponents = np.asarray(np.inf, held.dtype).view(bits)
    powers = (np.ascontiguousarray(held).view(bits) & exponents).view(held.dtype).reshape(held.shape)
    return np.asarray(np.clip(powers, kind.smallest_normal, kind.max))


def _of_a_power(held: Array) -> float:
    """Half a unit of the last place, in units of that power."""
    kind: Any = ml_dtypes.finfo(held.dtype)  # type: ignore[no-untyped-call]
    return float(2.0 ** -(kind.nmant + 1))


def moved(stored: Array, draw: int, which: int, units: float = 1.0) -> Array:
    """Every number of an array by half a unit of its last place up or down, in float64 or complex128.

    Args:
        stored: in its own type.
        draw: other directions in every draw.
        which: and in every array.
        units: by how many half units.
    """
    if stored.dtype.kind == "c":
        parts = np.stack([stored.real, stored.imag], axis=-1)
        return np.asarray(moved(parts, draw, which, units) @ (1, 1j))
    held = stored.astype(np.float64)
    return np.asarray(held + units * half_unit(stored) * _signs(held, draw, which))


def moved_quickly(stored: Array, draw: int, which: int, units: float = 1.0) -> Array:
    """The same in little time: every number by a share of itself, between half of that and all; tiny ones by less.

    Signs are products of one for each place of the first axis, and one for each of all others. To sums of many products
    they are as good as independent ones, but numbers of the same digits do not move together.

    Args:
        stored: in its own type.
        draw: other signs in every draw.
        which: and in every array.
        units: by how many half units.
    """
    if stored.dtype.kind == "c":
        return moved(stored, draw, which, units)
    held = stored if stored.dtype in (np.float32, np.float64) else stored.astype(np.float64)
    return _scaled(held, units * _of_a_power(stored) / 2, np.random.default_rng([draw, which]))


def _scaled(held: Array, share: float, rng: np.random.Generator) -> Array:
    """Every number by a share of itself up or down, in float64 or complex128."""
    table = np.atleast_1d(held)
    table = table.reshape(len(table), math.prod(table.shape[1:]))
    rows, columns = (2.0 * rng.integers(0, 2, length) - 1 for length in table.shape)
    moved = np.empty(table.shape, np.complex128 if held.dtype.kind == "c" else np.float64)
    step = max(1, _MOST_AT_A_TIME // max(1, len(columns)))
    for begin in range(0, len(table), step):
        piece = slice(begin, begin + step)
        changed = np.multiply.outer(share * rows[piece], columns)
        changed += 1
        np.multiply(changed, table[piece], out=moved[piece])
    return moved.reshape(held.shape)


def nudged(values: Sequence[Any], draw: int, step: float) -> list[Any]:
    """Every number of float64 up or down by a step, in units of its size."""
    rng = np.random.default_rng(draw)
    return [_scaled(held, step, rng) if is_number(held) else held for held in values]


@np.errstate(over="ignore")  # of integers, which is meant
def _signs(values: Array, draw: int, which: int) -> Array:
    """+1 or -1 for every number, at random by its digits: the same for 3, 6 and 1.5, and the opposite for -3."""
    digits = np.frexp(np.abs(values))[0].view(np.uint64)
    salt = np.random.default_rng([draw, which]).integers(2**63, dtype=np.uint64)
    mixed = (digits ^ salt) * np.uint64(0xBF58476D1CE4E5B9)  # the finaliser of SplitMix64
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.where((mixed >> np.uint64(63)) == 0, 1.0, -1.0) * np.where(values < 0, -1.0, 1.0)


def is_number(held: Any) -> bool:  # noqa: ANN401 - an array or anything else
    """Whether it is an array of floating-point numbers, real or complex."""
    return isinstance(held, np.ndarray) and (held.dtype in FLOATS or held.dtype.kind in "fc")


def is_narrow(held: Any) -> bool:  # noqa: ANN401 - an array or anything else
    """Whether it holds floating-point numbers of half precision, or less."""
    return is_number(held) and held.dtype.itemsize < 4
