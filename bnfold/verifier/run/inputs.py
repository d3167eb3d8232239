"""Seeded input draws that reach both sides of every branch: never only [0, 1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bnfold.errors import UsageError
from bnfold.verification import VerifyOptions
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.run.settings import Setting, Shape, one_sample

Draw = Callable[[np.random.Generator, Shape], npt.NDArray[np.float64]]

DISTRIBUTIONS: tuple[tuple[str, Draw], ...] = (
    ("normal", lambda rng, shape: rng.standard_normal(shape)),
    ("ten times normal", lambda rng, shape: 10 * rng.standard_normal(shape)),
    ("all negative", lambda rng, shape: -np.abs(rng.standard_normal(shape))),
    ("all zero", lambda _rng, shape: np.zeros(shape)),
    ("constant", lambda rng, shape: np.full(shape, rng.standard_normal())),
    ("large", lambda rng, shape: 100 * rng.standard_normal(shape)),
)
"""Of floating point inputs: sample i takes number i, and begins again after the last."""


_SEQUENCE_LENGTH = 2


class Drawable(Protocol):
    """An input of a model or of a program, as far as drawing it goes."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """How messages call what it takes."""

    @property
    def dtype(self) -> "np.dtype[Any] | None":
        """Of its elements; None where nothing says it, or such cannot be drawn."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """The declared sizes; anything but an int is free."""

    @property
    def is_sequence(self) -> bool:
        """Whether it is a sequence of tensors."""


def name_of_draw(ports: Sequence[Drawable], options: VerifyOptions, sample: int) -> str:
    """How messages call the sample: its number, counted from 0, and its distribution where that is a choice."""
    drawn = any(_is_varied(port.dtype) and port.name not in options.inputs for port in ports)
    return f"sample {sample} ({DISTRIBUTIONS[sample % len(DISTRIBUTIONS)][0]})" if drawn else f"sample {sample}"


def draw(ports: Sequence[Drawable], setting: Setting, options: VerifyOptions, sample: int) -> dict[str, Any]:
    """The values of every input in one sample: the caller's where there are any, else drawn.

    Integers of 32 bits and more are small and not negative, for they may be an index, a count or a length; shorter
    ones are data, such as pixels, and take their whole range. Strings are digits, so that a Cast can read them. A
    sequence is a list of two tensors, or of the rows of the caller's values.

    Raises:
        UsageError: the values that the caller gave are of a dtype that the input cannot take.
    """
    rng = np.random.default_rng([options.seed, sample])
    return {port.name: _value(rng, port, setting, options, sample) for port in ports}


def _value(rng: np.random.Generator, port: Drawable, setting: Setting, options: VerifyOptions, sample: int) -> Any:  # noqa: ANN401
    """An array, or a list of them."""
    if port.name in options.inputs:
        return _given(port, options.inputs[port.name], sample)
    drawn = [_drawn(rng, port, setting, sample) for _ in range(_SEQUENCE_LENGTH if port.is_sequence else 1)]
    return drawn if port.is_sequence else drawn[0]


def distinct_samples(ports: Sequence[Drawable], options: VerifyOptions) -> int:
    """How many samples are worth comparing: no more than the caller's values hold where nothing is drawn."""
    if any(port.name not in options.inputs for port in ports):
        return options.samples
    return min(options.samples, max((_count(port, options.inputs) for port in ports), default=1))


def _is_varied(dtype: "np.dtype[Any] | None") -> bool:
    """Whether numbers of this type come from another distribution in every sample."""
    return dtype in FLOATS or (dtype is not None and dtype.kind == "c")


def _dtype(port: Drawable) -> "np.dtype[Any]":
    assert port.dtype is not None, "`Settings` lets no other port through"
    return port.dtype


def _count(port: Drawable, inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    shape = inputs[port.name].shape
    rows = one_sample(port.shape, shape)
    return shape[0] // rows[0] if rows and rows[0] else 1


def _given(port: Drawable, array: npt.NDArray[Any], sample: int) -> Any:  # noqa: ANN401 - an array or a list of them
    dtype = _dtype(port)
    if not np.can_cast(array.dtype, dtype, "same_kind") or (dtype.kind == "O" and array.dtype.kind not in "OU"):
        raise UsageError(f"input {port.name!r} takes {port.type}, got values of dtype {array.dtype}: convert them")
    if port.is_sequence:
        return list(array.astype(dtype))
    rows = one_sample(port.shape, array.shape)
    if rows == array.shape:
        return array.astype(dtype)
    start = sample % (array.shape[0] // rows[0]) * rows[0]
    return array[start : start + rows[0]].astype(dtype)


def _drawn(rng: np.random.Generator, port: Drawable, setting: Setting, sample: int) -> npt.NDArray[Any]:
    dtype, shape = _dtype(port), setting.shapes[port.name]
    if dtype.kind == "O":
        return np.asarray(rng.integers(0, 10, shape)).astype(str).astype(object)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if dtype.kind in "iu" and dtype.itemsize >= 4:
        bound = setting.bounds.get(port.name, setting.integers_below)
        # A single number may be a length or a stride, and these are no zeros.
        least = 1 if not shape and port.name not in setting.bounds and bound > 1 else 0
        return np.asarray(rng.integers(least, bound, shape), dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(rng.integers(limits.min, limits.max, shape, dtype, endpoint=True))
    _, distribution = DISTRIBUTIONS[sample % len(DISTRIBUTIONS)]
    values = distribution(rng, shape)
    return np.asarray(values + 1j * distribution(rng, shape) if dtype.kind == "c" else values, dtype)
