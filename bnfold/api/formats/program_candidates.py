"""Folded programs of PyTorch as they are compared with their originals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bnfold.api.formats.protocol import Progress
from bnfold.api.options import FoldOptions
from bnfold.api.reproducing import ONLY_ONNX
from bnfold.errors import UncheckedError
from bnfold.timings import BenchOptions, Latency
from bnfold.verification import Verification, VerifyOptions

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)


def compare_programs(reference: object, program: object, how: VerifyOptions, progress: Progress) -> Verification:
    """Whether two programs compute the same: in torch, part by part, and then as exports under onnxruntime.

    Raises:
        UsageError, UncheckedError: as `bnfold.verifier.programs.check.check_torch`.
    """
    from bnfold.api.formats.under_onnxruntime import confirmed_by_onnxruntime
    from bnfold.verifier.programs.check import check_torch

    verdict = check_torch(reference, program, how, progress)
    progress("comparing under onnxruntime")
    return confirmed_by_onnxruntime(verdict, reference, program, how)


class _Reader(Protocol[P_co]):
    """What opens a file of one kind of programs."""

    def read(self, path: Path, options: FoldOptions) -> P_co:
        """The program in a file."""


@dataclass(frozen=True)
class UnchangedFile:
    """A copy of the original's file; see `bnfold.api.formats.protocol.Candidate`."""

    files: tuple[Path, ...]
    size: int
    program: object
    warnings: tuple[str, ...] = ()

    def check(self, how: VerifyOptions, _progress: Progress) -> Verification:
        """Nothing changed, so nothing is compared; the options are held against the program all the same."""
        from bnfold.verifier.programs.inputs import example_arguments, inputs_named

        if inputs_named(how):
            example_arguments(self.program, how)
        return Verification(status="passed", samples=0, seed=how.seed, identical=True)

    def reproduce(self, _verdict: Verification, _how: VerifyOptions, _folder: Path) -> str:
        """See Candidate."""
        raise UncheckedError(ONLY_ONNX)

    def time(self, _how: BenchOptions, _fed: VerifyOptions) -> Sequence[Latency]:
        """There is nothing to compare."""
        return ()


@dataclass(frozen=True)
class SavedProgram(Generic[P]):
    """A program as its file gives it; see `bnfold.api.formats.protocol.Candidate`."""

    files: tuple[Path, ...]
    size: int
    reference: P
    kind: _Reader[P]
    options: FoldOptions
    warnings: tuple[str, ...] = ()

    def check(self, how: VerifyOptions, progress: Progress) -> Verification:
        """See Candidate."""
        return compare_programs(self.reference, self.kind.read(self.files[0], self.options), how, progress)

    def reproduce(self, _verdict: Verification, _how: VerifyOptions, _folder: Path) -> str:
        """See Candidate."""
        raise UncheckedError(ONLY_ONNX)

    def time(self, how: BenchOptions, fed: VerifyOptions) -> Sequence[Latency]:
        """See Candidate."""
        from bnfold.latency.under_torch import time_programs

        return time_programs(self.reference, self.kind.read(self.files[0], self.options), how, fed)


@dataclass(frozen=True)
class KeptProgram:
    """A program in memory; see `bnfold.api.formats.protocol.Candidate`."""

    files: tuple[Path, ...]
    size: int
    reference: object
    program: object
    warnings: tuple[str, ...] = ()

    def check(self, how: VerifyOptions, progress: Progress) -> Verification:
        """See Candidate."""
        return compare_programs(self.reference, self.program, how, progress)

    def reproduce(self, _verdict: Verification, _how: VerifyOptions, _folder: Path) -> str:
        """See Candidate."""
        raise UncheckedError(ONLY_ONNX)

    def time(self, how: BenchOptions, fed: VerifyOptions) -> Sequence[Latency]:
        """See Candidate."""
        from bnfold.latency.under_torch import time_programs

        return time_programs(self.reference, self.program, how, fed)
