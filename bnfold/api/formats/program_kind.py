"""What a ScriptModule and an ExportedProgram have in common. Importing this imports torch."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from bnfold.api.options import FoldOptions
from bnfold.outcome import Change, Outcome
from bnfold.report.model import FormatName

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


class ProgramKind(ABC, Generic[P]):
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
        """Example inputs for torch's exporter to ONNX; none where the program holds its own."""

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
