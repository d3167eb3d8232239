"""A program of PyTorch after folding."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bnfold.api.formats.program_candidates import KeptProgram, SavedProgram, UnchangedFile
from bnfold.api.formats.program_kind import Lowered, ProgramKind
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.errors import InternalError
from bnfold.outcome import Change, Outcome

P = TypeVar("P")


@dataclass(frozen=True)
class Original(Generic[P]):
    """What was folded.

    Attributes:
        kind: of program.
        program: the original.
        options: with a shape for every input that needs one.
        file: that it was read from, and whose form the result takes; None for a program in memory.
    """

    kind: ProgramKind[P]
    program: P
    options: FoldOptions
    file: Path | None


@dataclass(frozen=True)
class ProgramFolded(Generic[P]):
    """See `bnfold.api.formats.protocol.Folded`."""

    original: Original[P]
    lowered: Lowered[P]

    @property
    def outcome(self) -> Outcome:
        """See Folded."""
        return self.lowered.outcome

    @property
    def nodes(self) -> Change:
        """See Folded."""
        return self.lowered.nodes

    @property
    def parameters(self) -> Change:
        """See Folded."""
        kind = self.original.kind
        return Change(kind.count_parameters(self.original.program), kind.count_parameters(self.lowered.program))

    @property
    def overridable_initializers(self) -> int:
        """Parameters of programs are never inputs."""
        return 0

    @property
    def read_as_inference(self) -> bool:
        """See Folded."""
        return self.lowered.read_as_inference

    @property
    def model(self) -> object:
        """The program."""
        return self.lowered.program

    def save(self, folder: Path, target: Path) -> SavedProgram[P] | UnchangedFile:
        """Where nothing was changed, the file stays as it is, byte for byte."""
        file, kind, options = self._file, self.original.kind, self.original.options
        staged = folder / target.name
        if not self.outcome.changes and not self.read_as_inference:
            shutil.copyfile(file, staged)
            return UnchangedFile((staged,), size_of([staged]), self.original.program)
        left_out = kind.write_like(file, self.lowered.program, staged, options)
        return SavedProgram((staged,), size_of([staged]), self.lowered.reference, kind, options, _told(left_out))

    def keep(self) -> KeptProgram:
        """See Folded."""
        lowered = self.lowered
        return KeptProgram((), self.original.kind.size(lowered.program), lowered.reference, lowered.program)

    @property
    def _file(self) -> Path:
        if self.original.file is None:
            raise InternalError("a program that came from no file was to be written like its file")
        return self.original.file


def _told(left_out: Sequence[str]) -> tuple[str, ...]:
    """Of many parts the first."""
    if not left_out:
        return ()
    more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return (f"not carried over from the file: {', '.join(repr(name[:80]) for name in left_out[:3])}{more}",)
