"""Programs of PyTorch as sources of a fold. Importing this imports torch."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from bnfold.api.formats.packages import import_packages
from bnfold.api.formats.program_candidates import compare_programs
from bnfold.api.formats.program_folded import Original, ProgramFolded
from bnfold.api.formats.program_kind import ProgramKind, ShapedOptions
from bnfold.api.formats.protocol import Source, untold
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import InternalError
from bnfold.report.model import FormatName
from bnfold.verification import Verification, VerifyOptions

P = TypeVar("P")


class ProgramFormat(ProgramKind[P]):
    """One of the two kinds of programs; see `bnfold.api.formats.protocol.Format`."""

    def open(self, path: Path, options: FoldOptions, scratch: Path | None) -> "ProgramSource[P]":  # noqa: ARG002
        """See Format."""
        import_packages(options.imports)
        program = self.read(path, options)
        fed = self.feeding(program, options, path)
        return ProgramSource(self, program, fed, path, size_of([path]))

    @contextmanager
    def load(self, path: Path, options: FoldOptions) -> "Iterator[ProgramSource[P]]":
        """See Format."""
        import_packages(options.imports)
        program = self.read(path, options)
        yield self._held(program, self.feeding(program, options, path))

    def hold(self, model: object, options: FoldOptions) -> "ProgramSource[P]":
        """See Format."""
        program = self.require(model)
        return self._held(program, self.feeding(program, options, None))

    def _held(self, program: P, fed: ShapedOptions) -> "ProgramSource[P]":
        return ProgramSource(self, program, fed, None, self.size(program))


@dataclass(frozen=True)
class ProgramSource(Generic[P]):
    """See `bnfold.api.formats.protocol.Source`.

    Attributes:
        kind: of program.
        program: the original.
        fed: the options, and what was chosen to feed it.
        file: that it was read from, and whose form the result takes; None for a program in memory.
        size: in bytes, of the file or of the tensors.
    """

    kind: ProgramFormat[P]
    program: P
    fed: ShapedOptions
    file: Path | None
    size: int

    @property
    def format(self) -> FormatName:
        """See Source."""
        return self.kind.name

    @property
    def options(self) -> FoldOptions:
        """See Source."""
        return self.fed.options

    @property
    def warnings(self) -> Sequence[str]:
        """See Source."""
        return self.fed.warnings

    @property
    def data_files(self) -> Sequence[Path]:
        """See Source."""
        return ()

    @property
    def opsets(self) -> Sequence[tuple[str, int]]:
        """See Source."""
        return ()

    def fold(self, without: Collection[int], watch: Stopwatch) -> ProgramFolded[P]:
        """See Source."""
        lowered = self.kind.fold(self.program, self.options, without, learns=self.fed.teaches)
        watch.lap("plan")
        original = Original(self.kind, self.program, self.options, self.file)
        if self.options.to == "onnx":
            from bnfold.api.formats.to_onnx import ExportedToOnnx

            return ExportedToOnnx(original, lowered)
        return ProgramFolded(original, lowered)


def verify_programs(reference: Source, candidate: Source) -> Verification:
    """Whether two programs compute the same, fed as the options of the first one say.

    Raises:
        UsageError, UncheckedError: as `compare_programs`.
    """
    if not isinstance(reference, ProgramSource) or not isinstance(candidate, ProgramSource):
        raise InternalError("other models than programs were to be compared as such")
    verdict = compare_programs(reference.program, candidate.program, reference.options.check or VerifyOptions(), untold)
    return replace(verdict, warnings=(*reference.warnings, *verdict.warnings))
