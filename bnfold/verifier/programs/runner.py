"""A program of torch that is run on one sample, and again with other roundings; see `bnfold.verifier.run.runner`."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from bnfold.errors import UncheckedError
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.perturbed_inputs import moved_by_last_bit
from bnfold.verifier.compare.perturbed_weights import step_of
from bnfold.verifier.programs.program import Call, TorchProgram
from bnfold.verifier.programs.rows import Row, names_of_calls
from bnfold.verifier.programs.tensors import as_arrays, as_tensors
from bnfold.verifier.run.runner import Perturbed
from bnfold.verifier.run.session import Feeds

_COARSEST_FIRST = tuple(np.dtype(kind) for kind in (ml_dtypes.bfloat16, np.float16, np.float32, np.float64))


class ProgramRunner:
    """A program in one call, or in several in a row.

    Args:
        program: the program.
        row: the leaves of the arguments of each call.
        expected: what the program makes of them, by name.

    Attributes:
        feeds: the tensors among the leaves.
    """

    def __init__(self, program: TorchProgram, row: Row, expected: Mapping[str, object]) -> None:
        self._program, self._row, self._expected = program, row, expected
        arrays = {f"{call}.{at}": leaf for call, leaves in enumerate(row) for at, leaf in enumerate(as_arrays(leaves))}
        self.feeds: Feeds = {name: leaf for name, leaf in arrays.items() if isinstance(leaf, np.ndarray)}

    @cached_property
    def precision(self) -> "np.dtype[Any]":
        """The coarsest floating point type among weights and inputs; float32 if there is none."""
        found = self._program.float_types() | ({leaf.dtype for leaf in self.feeds.values()} & FLOATS)
        return next((dtype for dtype in _COARSEST_FIRST if dtype in found), np.dtype(np.float32))

    def moved(self) -> Iterator[Perturbed]:
        """What it makes where every floating-point value in its inputs is moved by the last bit of its precision.

        Up or down at random, and then the other way; a moved input may leave the domain of a lookup.
        """
        for direction in (1, -1):
            with suppress(UncheckedError):
                calls = self._calls(moved_by_last_bit(self.feeds, direction, self.precision))
                yield self._perturbed(calls, of_a_problem=math.inf)

    def perturbed(self, feeds: Feeds) -> Iterator[Perturbed]:
        """By torch's own kernels, and not by those of oneDNN."""
        import torch

        switches: Any = torch._C  # torch.backends.mkldnn.flags warns of other switches
        enabled = switches._get_mkldnn_enabled()
        switches._set_mkldnn_enabled(False)
        try:
            calls = self._calls(feeds)
        except UncheckedError:
            return
        finally:
            switches._set_mkldnn_enabled(enabled)
        yield self._perturbed(calls)

    def perturbed_weights(self, feeds: Feeds, number: int) -> Iterator[Perturbed]:
        """As of the protocol; of weights over two axes and more."""
        step = step_of(number)
        try:
            with self._program.perturbed(number, step):
                calls = self._calls(feeds)
        except UncheckedError:
            return
        yield self._perturbed(calls, of_a_problem=math.inf, step=step)

    def perturbed_steps(self, feeds: Feeds) -> Iterator[Perturbed]:  # noqa: ARG002
        """Quantized programs are compared as they are."""
        return iter(())

    def _calls(self, feeds: Feeds) -> list[Call]:
        row = [
            [as_tensors(feeds.get(f"{call}.{at}", leaf)) for at, leaf in enumerate(leaves)]
            for call, leaves in enumerate(self._row)
        ]
        return self._program.calls(row)

    def _perturbed(self, calls: list[Call], of_a_problem: float = 0.0, step: int = 1) -> Perturbed:
        """What is only made otherwise stays as it was expected."""
        made = names_of_calls(calls)
        outputs = [made.get(name, value) for name, value in self._expected.items()]
        return Perturbed(outputs, of_a_problem, step)
