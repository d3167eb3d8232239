"""Programs of PyTorch: what a ScriptModule and an ExportedProgram have in common. Importing this imports torch."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch

from bnfold.api.formats.packages import import_packages
from bnfold.api.formats.program_candidates import KeptProgram, SavedProgram, UnchangedFile
from bnfold.api.formats.protocol import Source
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import InternalError
from bnfold.outcome import Change, Outcome
from bnfold.report.model import FormatName
from bnfold.verification import Verification

P = TypeVar("P")


@dataclass(frozen=True)
class ShapedOptions:
    """The options of a fold, with a shape for every input that needs one.

    Attributes:
        options: with shapes that bnfold chose where the caller named none; as they were where nothing was found.
        teaches: whether the shapes may be learnt from: the program takes no other ranks, or somebody used it so. A fold
            that is right for one rank of several is wrong.
        warnings: which ones bnfold chose.
    """

    options: FoldOptions
    teaches: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lowered(Generic[P]):
    """A program after folding.

    Attributes:
        program: the folded program.
        reference: what it must equal: the original, or the original read as an inference program.
        outcome: what was folded and what was not.
        nodes: operators before and after.
        read_as_inference: whether the reference is another program than the original for that reason.
    """

    program: P
    reference: P
    outcome: Outcome
    nodes: Change
    read_as_inference: bool = False


class ProgramFormat(ABC, Generic[P]):
    """One of the two kinds of programs; see `bnfold.api.formats.protocol.Format`."""

    name: FormatName

    @abstractmethod
    def read(self, path: Path, options: FoldOptions) -> P:
        """The program in a file, of which torch is given checked parts only."""

    @abstractmethod
    def write_like(self, source: Path, program: P, path: Path, options: FoldOptions) -> Sequence[str]:
        """Write a folded program with all that the file of its original holds beside it.

        Returns:
            Names of parts of the original that the new file does not have.
        """

    @abstractmethod
    def fold(self, program: P, options: FoldOptions, without: Collection[int], *, learns: bool) -> Lowered[P]:
        """Fold a program; it is left unchanged.

        Args:
            program: the program.
            options: what to fold.
            without: numbers of nodes to leave alone.
            learns: whether shapes may be learnt from what the options feed it.
        """

    @abstractmethod
    def stored(self, program: P) -> Iterable[object]:
        """What the program holds: parameters, buffers and constants."""

    @abstractmethod
    def arguments_for_export(self, program: P, options: FoldOptions) -> Sequence[object]:
        """What torch's exporter to ONNX has to run it on; none where the program says that itself."""

    @abstractmethod
    def feeding(self, program: P, options: FoldOptions, file: Path | None) -> ShapedOptions:
        """Shapes for the inputs of which neither the caller nor the program says any."""

    @abstractmethod
    def require(self, model: object) -> P:
        """A model in memory, if it is of this kind.

        Raises:
            UsageError: it is not.
        """

    @abstractmethod
    def write(self, model: object, folder: Path, target: Path) -> Sequence[Path]:
        """See Format."""

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

    def size(self, program: P) -> int:
        """Bytes of a program in memory: those of its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._places(program))

    def count_parameters(self, program: P) -> int:
        """Numbers that a program holds."""
        return sum(tensor.numel() for tensor in self._places(program))

    def _places(self, program: P) -> Iterator[torch.Tensor]:
        """The tensors that it holds, each place in memory once."""
        seen = set()
        for tensor in self.stored(program):
            if isinstance(tensor, torch.Tensor):
                key = (tensor.device, tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else id(tensor)
                if key not in seen:
                    seen.add(key)
                    yield tensor


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

    def fold(self, without: Collection[int], watch: Stopwatch) -> "ProgramFolded[P]":
        """See Source."""
        lowered = self.kind.fold(self.program, self.options, without, learns=self.fed.teaches)
        watch.lap("plan")
        if self.options.to == "onnx":
            from bnfold.api.formats.to_onnx import ExportedToOnnx

            return ExportedToOnnx(self, lowered)
        return ProgramFolded(self, lowered)


def verify_programs(reference: Source, candidate: Source) -> Verification:
    """Whether two programs compute the same, fed as the options of the first one say.

    Raises:
        UsageError, UncheckedError: as `bnfold.verifier.programs.check.check_torch`.
    """
    from bnfold.verifier.programs.check import check_torch

    if not isinstance(reference, ProgramSource) or not isinstance(candidate, ProgramSource):
        raise InternalError("other models than programs were to be compared as such")
    verdict = check_torch(reference.program, candidate.program, reference.options.check)
    return replace(verdict, warnings=(*reference.warnings, *verdict.warnings))


@dataclass(frozen=True)
class ProgramFolded(Generic[P]):
    """See `bnfold.api.formats.protocol.Folded`."""

    source: ProgramSource[P]
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
        kind = self.source.kind
        return Change(kind.count_parameters(self.source.program), kind.count_parameters(self.lowered.program))

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
        file, kind, options = self._file, self.source.kind, self.source.options
        staged = folder / target.name
        if not self.outcome.changes and not self.read_as_inference:
            shutil.copyfile(file, staged)
            return UnchangedFile((staged,), size_of([staged]), self.source.program)
        left_out = kind.write_like(file, self.lowered.program, staged, options)
        return SavedProgram((staged,), size_of([staged]), self.lowered.reference, kind, options, _told(left_out))

    def keep(self) -> KeptProgram:
        """See Folded."""
        lowered = self.lowered
        return KeptProgram((), self.source.kind.size(lowered.program), lowered.reference, lowered.program)

    @property
    def _file(self) -> Path:
        if self.source.file is None:
            raise InternalError("a program that came from no file was to be written like its file")
        return self.source.file


def _told(left_out: Sequence[str]) -> tuple[str, ...]:
    """Of many parts the first."""
    if not left_out:
        return ()
    more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return (f"not carried over from the file: {', '.join(repr(name[:80]) for name in left_out[:3])}{more}",)
