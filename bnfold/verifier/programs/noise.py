"""The original's own noise in torch: how far it moves when nothing changes but the rounding."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from bnfold.errors import UncheckedError
from bnfold.verifier.compare.arrays import FLOATS, Array, differences
from bnfold.verifier.compare.noise import NoiseLevel
from bnfold.verifier.compare.perturbed_weights import noise_of_step, step_of
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.rows import Row, names_of_calls
from bnfold.verifier.programs.tensors import to_array, to_tensor

# The coarsest first.
_BY_GRAIN = tuple(np.dtype(kind) for kind in (ml_dtypes.bfloat16, np.float16, np.float32, np.float64))

Seen = Mapping[str, object]
"""Results by name."""


def grain_of(program: TorchProgram, row: Row) -> "np.dtype[Any]":
    """The coarsest floating point type among weights and inputs; float32 if there is none."""
    fed = {to_array(leaf).dtype for leaf in row[0] if hasattr(leaf, "dtype")}
    found = program.float_types() | (fed & FLOATS)
    return next((dtype for dtype in _BY_GRAIN if dtype in found), np.dtype(np.float32))


@dataclass(frozen=True)
class Rounding:
    """What the original gives under another rounding.

    Attributes:
        seen: its results.
        worst: how large an error a NaN that comes or goes is.
        step: by how many units of the last place something was moved.
    """

    seen: Seen
    worst: float
    step: int = 1


def other_roundings(program: TorchProgram, row: Row) -> Iterator[Rounding]:
    """What the original gives under other legal roundings.

    Twice every floating point value in the inputs is moved by the last bit of the grain, up or down at random; once
    the kernels are torch's own and not those of oneDNN.
    """
    grain = grain_of(program, row)
    for direction in (+1, -1):
        rng = np.random.default_rng(0)
        moved = [[_moved(leaf, direction, rng, grain) for leaf in leaves] for leaves in row]
        with suppress(UncheckedError):  # a moved input may leave the domain of a lookup
            yield Rounding(_everything(program, moved), math.inf)
    with suppress(UncheckedError):
        yield Rounding(_without_onednn(program, row), 0.0)


def rounding_of_weights(program: TorchProgram, row: Row, number: int) -> Iterator[Rounding]:
    """What the original gives with its weights moved a little: one, or none.

    Args:
        program: the original.
        row: the calls of one sample.
        number: of the rounding, from 0.
    """
    step = step_of(number)
    with suppress(UncheckedError), program.moved_weights(number, step):
        yield Rounding(_everything(program, row), math.inf, step)


def _without_onednn(program: TorchProgram, row: Row) -> Seen:
    import torch

    switches: Any = torch._C  # torch.backends.mkldnn.flags warns of other switches
    enabled = switches._get_mkldnn_enabled()
    switches._set_mkldnn_enabled(False)
    try:
        return _everything(program, row)
    finally:
        switches._set_mkldnn_enabled(enabled)


def level(name: str, value: object, others: Sequence[Rounding], grain: "np.dtype[Any]") -> NoiseLevel:
    """The noise of one result.

    Args:
        name: its name.
        value: what the original gives.
        others: all under other roundings.
        grain: the coarsest type that it computes in.
    """
    noise = 0.0
    for other in (other for other in others if name in other.seen):  # the smallest steps first
        error = _error(value, other.seen.get(name), other.worst)
        noise = max(noise, float(noise_of_step(np.asarray(error), other.step, np.asarray(noise))))
    return NoiseLevel(noise, grain)


def _everything(program: TorchProgram, row: Row) -> Seen:
    return names_of_calls(program.calls(row))


def _error(value: object, other: object, of_a_problem: float) -> float:
    found = differences(value, other)
    return max((of_a_problem if entry.problem else entry.error for entry in found), default=0.0)


def _moved(leaf: Any, direction: int, rng: np.random.Generator, grain: "np.dtype[Any]") -> Any:  # noqa: ANN401
    """The leaf with every value moved; an array of zeros, which have no last bit to move, moves as if ones."""
    if not hasattr(leaf, "dtype"):
        return leaf
    array: Array = to_array(leaf)
    if array.dtype not in FLOATS:
        return leaf
    values = array.astype(np.float64)
    step = np.abs(values) if values.any() else np.ones(values.shape)
    signs = direction * rng.choice((-1.0, 1.0), array.shape)
    with np.errstate(over="ignore"):  # the largest float16 moves to infinity
        return to_tensor((values + signs * step * max(_eps(grain), _eps(array.dtype))).astype(array.dtype))


def _eps(dtype: "np.dtype[Any]") -> float:
    one, two = np.ones((), dtype), np.full((), 2, dtype)
    return float(np.nextafter(one, two)) - 1
