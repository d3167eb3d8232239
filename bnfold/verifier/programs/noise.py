"""The original's own noise in torch: how far it moves when nothing changes but the rounding."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from bnfold.errors import UncheckedError
from bnfold.verifier.compare.arrays import FLOATS, differences
from bnfold.verifier.compare.noise import MOST_ROUNDINGS, NoiseLevel
from bnfold.verifier.compare.perturbed_inputs import moved_by_last_bit
from bnfold.verifier.compare.perturbed_weights import noise_of_step, step_of
from bnfold.verifier.programs.program import Call, TorchProgram
from bnfold.verifier.programs.rows import Row, names_of_calls
from bnfold.verifier.programs.tensors import as_arrays, as_tensors

_COARSEST_FIRST = tuple(np.dtype(kind) for kind in (ml_dtypes.bfloat16, np.float16, np.float32, np.float64))


@dataclass(frozen=True)
class _Rounding:
    """What the original gives under another rounding.

    Attributes:
        calls: what it gives.
        of_a_problem: how large an error a NaN that comes or goes is.
        step: by how many units of the last place something was moved.
    """

    calls: list[Call]
    of_a_problem: float = math.inf
    step: int = 1

    @cached_property
    def seen(self) -> dict[str, object]:
        """Results by name."""
        return names_of_calls(self.calls)


class Noise:
    """Of an original, in one call or several in a row.

    Twice every floating point value in the inputs is moved by the last bit of its working precision, up or down at
    random; once the kernels are torch's own and not those of oneDNN. In doubt, its weights are moved as well.

    Args:
        program: the original.
        row: the leaves of the arguments of each call.
    """

    def __init__(self, program: TorchProgram, row: Row) -> None:
        self._program = program
        self._row = row
        self._weights_moved = 0

    @cached_property
    def grain(self) -> "np.dtype[Any]":
        """The coarsest floating point type among weights and inputs; float32 if there is none."""
        fed = {held.dtype for held in as_arrays(list(self._row[0])) if isinstance(held, np.ndarray)}
        found = self._program.float_types() | (fed & FLOATS)
        return next((dtype for dtype in _COARSEST_FIRST if dtype in found), np.dtype(np.float32))

    def level(self, name: str, value: object) -> NoiseLevel:
        """The noise of one result, as far as it is known.

        Args:
            name: its name.
            value: what the original gives.
        """
        noise = 0.0
        for other in (other for other in self._others if name in other.seen):  # the smallest steps first
            found = differences(value, other.seen[name])
            error = max((other.of_a_problem if entry.problem else entry.error for entry in found), default=0.0)
            noise = max(noise, float(noise_of_step(np.asarray(error), other.step, np.asarray(noise))))
        return NoiseLevel(noise, self.grain)

    def round_again(self) -> bool:
        """Find one more rounding, by moving the weights; whether there are any left to try."""
        if self._weights_moved == MOST_ROUNDINGS:
            return False
        step = step_of(self._weights_moved)
        with suppress(UncheckedError), self._program.perturbed(self._weights_moved, step):
            self._others.append(_Rounding(self._program.calls(self._row), step=step))
        self._weights_moved += 1
        return True

    @cached_property
    def _others(self) -> list[_Rounding]:
        return list(self._other_roundings())

    def _other_roundings(self) -> Iterator[_Rounding]:
        for direction in (+1, -1):
            with suppress(UncheckedError):  # a moved input may leave the domain of a lookup
                yield _Rounding(self._program.calls([self._moved(leaves, direction) for leaves in self._row]))
        with suppress(UncheckedError):
            yield _Rounding(self._without_onednn(), of_a_problem=0.0)

    def _moved(self, leaves: Any, direction: int) -> list[Any]:  # noqa: ANN401
        feeds = {str(at): leaf for at, leaf in enumerate(as_arrays(list(leaves))) if isinstance(leaf, np.ndarray)}
        moved = moved_by_last_bit(feeds, direction, self.grain)
        return [as_tensors(moved[str(at)]) if str(at) in moved else leaf for at, leaf in enumerate(leaves)]

    def _without_onednn(self) -> list[Call]:
        import torch

        switches: Any = torch._C  # torch.backends.mkldnn.flags warns of other switches
        enabled = switches._get_mkldnn_enabled()
        switches._set_mkldnn_enabled(False)
        try:
            return self._program.calls(self._row)
        finally:
            switches._set_mkldnn_enabled(enabled)
