"""ONNX models on the way through a fold: opened, folded, and as they are compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import onnx

from bnfold.api.formats.folding import fold_as_asked
from bnfold.api.formats.protocol import Progress
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.api.stopwatch import Stopwatch
from bnfold.frontends.onnx.file import (
    OpenModel,
    copy_if_unchanged,
    open_model,
    parse_model,
    stage,
)
from bnfold.frontends.onnx.inference import assume_inference
from bnfold.frontends.onnx.inlining import IFS, FunctionKey, functions_in_the_way, inline, worth_inlining
from bnfold.frontends.onnx.overridable import count_overridable, freeze_initializers
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.size import count_nodes, count_parameters
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.frontends.onnx.taken_branches import has_ifs
from bnfold.intake.text import readable_text
from bnfold.outcome import Change, LowerTo, Outcome
from bnfold.report.model import FormatName
from bnfold.timings import BenchOptions, Latency
from bnfold.verification import Verification, VerifyOptions


@dataclass(frozen=True)
class Measures:
    """Size of a model."""

    nodes: int
    parameters: int


def measure(model: onnx.ModelProto) -> Measures:
    """How many nodes and numbers a model has."""
    return Measures(count_nodes(model), count_parameters(model))


@dataclass(frozen=True)
class OnnxSource:
    """See `bnfold.api.formats.protocol.Source`.

    Attributes:
        opened: the model; the first fold changes it.
        reference: what a folded one must equal, to be read again and to be compared with.
        options: what to fold and how to check it.
        before: how large the original is.
        size: of the original, in bytes.
        read_as_inference: whether the reference is another model than the original for that reason.
    """

    opened: OpenModel
    reference: Path | bytes
    options: FoldOptions
    before: Measures
    size: int
    read_as_inference: bool
    _folds: list[Collection[int]] = field(default_factory=list)
    _inlined: set[FunctionKey] = field(default_factory=set)

    @property
    def format(self) -> FormatName:
        """See Source."""
        return "onnx"

    @property
    def warnings(self) -> Sequence[str]:
        """See Source."""
        if not self._inlined:
            return self.opened.warnings
        names = ", ".join(f"{domain}::{name}" for domain, name in sorted(self._inlined - {IFS}))
        why = "because more BatchNorms fold then"
        functions = [f"functions of the model were inlined, {why}: {names}"] if names else []
        branches = [f"of each If whose condition the file fixes, the branch that is taken was written out, {why}"]
        return (*self.opened.warnings, *(branches if IFS in self._inlined else []), *functions)

    @property
    def data_files(self) -> Sequence[Path]:
        """See Source."""
        return self.opened.data_files

    @property
    def opsets(self) -> Sequence[tuple[str, int]]:
        """See Source."""
        return [(entry.domain, entry.version) for entry in self.opened.model.opset_import]

    @readable_text()
    def fold(self, without: Collection[int], watch: Stopwatch) -> "OnnxFolded":
        """See Source."""
        opened = self._read_again() if self._folds else self.opened
        if self._inlined:
            opened = replace(opened, model=inline(opened.model, self._inlined))
        port, outcome = self._planned(opened, without, self.options.lower)
        watch.lap("plan")
        moved_inside = port.finish()
        if not self._folds and self._finds_functions_to_inline(opened.model):
            self._folds.append(without)
            return OnnxSource.fold(self, without, watch)
        self._folds.append(without)
        if self.options.freeze_initializers:
            freeze_initializers(opened.model)
        after = measure(opened.model)
        watch.lap("apply")
        return OnnxFolded(
            opened,
            self.reference,
            outcome,
            Change(self.before.nodes, after.nodes),
            Change(self.before.parameters, after.parameters),
            self.read_as_inference,
            moved_inside,
        )

    def _planned(
        self, opened: OpenModel, without: Collection[int], lower: LowerTo | Literal[""]
    ) -> tuple[OnnxPort, Outcome]:
        port = OnnxPort(
            opened.model,
            opened.store,
            exclude=self.options.exclude,
            without=without,
            keep_overridable=self.options.keep_overridable,
        )
        return port, fold_as_asked(port, self.options, lower=lower)

    def _finds_functions_to_inline(self, folded: onnx.ModelProto) -> bool:
        """Whether more BatchNorms fold where functions are inlined; then these are, from now on.

        Where what stays is lowered, more can be lowered in functions that are inlined, which know the ranks of their
        tensors; but first those are found in which more folds.
        """
        for lower in dict.fromkeys(("", self.options.lower)) if folded.functions or has_ifs(folded) else ():
            self._find_functions_to_inline(None if self.options.lower else folded, lower)
        return bool(self._inlined)

    def _find_functions_to_inline(self, folded: onnx.ModelProto | None, lower: LowerTo | Literal[""]) -> None:
        fresh = self.opened

        def read() -> onnx.ModelProto:
            nonlocal fresh
            fresh = self._read_again()
            return inline(fresh.model, self._inlined) if self._inlined else fresh.model

        def fold(model: onnx.ModelProto) -> None:
            port, _ = self._planned(replace(fresh, model=model), (), lower)
            port.finish()

        if folded is None:
            folded = read()
            fold(folded)
        exclude = self.options.exclude
        keys = functions_in_the_way(folded, exclude)
        if keys:
            self._inlined.update(worth_inlining(read, fold, keys, exclude))

    def _read_again(self) -> OpenModel:
        if isinstance(self.reference, bytes):
            return OpenModel(parse_model(self.reference), TensorStore(None))
        opened = open_model(self.reference)
        if self.options.assume_inference:
            assume_inference(opened.model)
        return opened


@dataclass(frozen=True)
class OnnxFolded:
    """See `bnfold.api.formats.protocol.Folded`.

    Attributes:
        reference: what the model must equal.
        moved_inside: tensors that lay in a data file and hold their data themselves now.
    """

    opened: OpenModel
    reference: Path | bytes
    outcome: Outcome
    nodes: Change
    parameters: Change
    read_as_inference: bool
    moved_inside: Sequence[onnx.TensorProto]

    @property
    def model(self) -> onnx.ModelProto:
        """The protobuf."""
        return self.opened.model

    @property
    def overridable_initializers(self) -> int:
        """See Folded."""
        return count_overridable(self.opened.model)

    @readable_text()
    def save(self, folder: Path, target: Path) -> "OnnxCandidate":
        """Where nothing was changed, it is written as it was, byte by byte, however its writer spelled it."""
        if not self.outcome.changes and not self.opened.data_files and isinstance(self.reference, Path):
            unchanged = copy_if_unchanged(self.opened, folder / target.name)
            if unchanged:
                return OnnxCandidate(self.reference, unchanged, (unchanged,), size_of([unchanged]))
        files = tuple(stage(self.opened, self.moved_inside, folder, target))
        return OnnxCandidate(self.reference, files[-1], files, size_of(files))

    @readable_text()
    def keep(self) -> "OnnxCandidate":
        """See Folded."""
        serialised = self.opened.model.SerializeToString(deterministic=True)
        return OnnxCandidate(self.reference, serialised, (), len(serialised))


@dataclass(frozen=True)
class OnnxCandidate:
    """See `bnfold.api.formats.protocol.Candidate`."""

    reference: Path | bytes
    result: Path | bytes
    files: tuple[Path, ...]
    size: int
    warnings: tuple[str, ...] = ()

    @readable_text()
    def check(self, how: VerifyOptions, progress: Progress) -> Verification:
        """See Candidate."""
        from bnfold.verifier import check, verdict_if_identical

        identical = verdict_if_identical(self.reference, self.result, how)
        return identical or check(self.reference, self.result, how, progress)

    @readable_text()
    def reproduce(self, verdict: Verification, how: VerifyOptions, folder: Path) -> str:
        """See Candidate."""
        from bnfold.verifier.reproduction import write_reproduction

        return write_reproduction(self.reference, self.result, verdict, how, folder)

    @readable_text()
    def time(self, how: BenchOptions, fed: VerifyOptions) -> Sequence[Latency]:
        """See Candidate."""
        from bnfold.latency.under_onnxruntime import time_models

        return time_models(self.reference, self.result, how, fed)
