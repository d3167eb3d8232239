"""A folded program of PyTorch as an ONNX model, by torch's exporter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import onnx

from bnfold.api.formats.onnx_validity import require_runnable
from bnfold.api.formats.own_names import with_own_names
from bnfold.api.formats.program_folded import ProgramFolded
from bnfold.api.formats.protocol import Progress
from bnfold.api.places import size_of
from bnfold.errors import UnsupportedModelError
from bnfold.frontends.onnx_export import export_as_written, export_to_onnx
from bnfold.intake import message
from bnfold.keywords import keyword
from bnfold.sizes import memory
from bnfold.timings import BenchOptions, Latency
from bnfold.verification import Verification, VerifyOptions

P = TypeVar("P")


@dataclass(frozen=True)
class ExportedToOnnx(ProgramFolded[P]):
    """A folded program that is exported when it is saved, or asked for."""

    @property
    def model(self) -> onnx.ModelProto:
        """The ONNX model.

        Raises:
            UnsupportedModelError: torch cannot export it, or ONNX's own tools refuse the result.
        """
        program, kind = self.lowered.program, self.original.kind
        size = kind.size(program)
        if size > message.LARGEST_MESSAGE:
            raise UnsupportedModelError(
                f"holds {memory(size)} of weights, and {keyword('to', 'onnx')} writes them into one file "
                "of at most 2 GiB: leave it out to write a program"
            )
        return require_runnable(export_to_onnx(program, kind.arguments_for_export(program, self.original.options)))

    def save(self, folder: Path, target: Path) -> "ExportedFile[P]":  # type: ignore[override]
        """See Folded."""
        staged = folder / target.name
        staged.write_bytes(self.model.SerializeToString(deterministic=True))
        return ExportedFile((staged,), size_of([staged]), self)


@dataclass(frozen=True)
class ExportedFile(Generic[P]):
    """The ONNX file; see `bnfold.api.formats.protocol.Candidate`."""

    files: tuple[Path, ...]
    size: int
    folded: ExportedToOnnx[P]
    warnings: tuple[str, ...] = ()

    def check(self, how: VerifyOptions, progress: Progress) -> Verification:
        """The programs under torch, and then the file against an export of the original."""
        from bnfold.verifier import check
        from bnfold.verifier.programs.check import check_torch

        lowered = self.folded.lowered
        verdict = check_torch(lowered.reference, lowered.program, how, progress)
        if not verdict.passed:
            return verdict
        final = check(self._exported_original(), self.files[0], how)
        return replace(final, warnings=(*verdict.warnings, *final.warnings))

    def reproduce(self, verdict: Verification, how: VerifyOptions, folder: Path) -> str:
        """The file and an export of the original."""
        from bnfold.verifier.reproduction import write_reproduction

        return write_reproduction(self._exported_original(), self.files[0], verdict, how, folder)

    def time(self, how: BenchOptions, fed: VerifyOptions) -> Sequence[Latency]:
        """The file against an export of the original."""
        from bnfold.latency.under_onnxruntime import time_models

        return time_models(self._exported_original(), self.files[0], how, fed)

    def _exported_original(self) -> bytes:
        lowered, original = self.folded.lowered, self.folded.original
        arguments = original.kind.arguments_for_export(lowered.reference, original.options)
        data: bytes = with_own_names(export_as_written(lowered.reference, arguments)).SerializeToString()
        return data
