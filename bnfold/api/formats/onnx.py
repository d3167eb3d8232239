"""ONNX models: files, and protobufs in memory."""

import math
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from bnfold.api.formats.protocol import Progress
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.api.stopwatch import Stopwatch
from bnfold.engine import fold_graph
from bnfold.errors import UsageError
from bnfold.frontends.onnx.file import (
    OpenModel,
    check_external_data,
    check_model,
    copy_if_unchanged,
    embed_external_data,
    in_order,
    open_model,
    parse_model,
    stage,
)
from bnfold.frontends.onnx.inference import assume_inference
from bnfold.frontends.onnx.inlining import FunctionKey, functions_in_the_way, inline, worth_inlining
from bnfold.frontends.onnx.overridable import count_overridable, freeze_initializers
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.size import count_nodes, count_parameters
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake import message
from bnfold.intake.tensors import stored_tensors
from bnfold.intake.text import readable_text
from bnfold.outcome import Change, Outcome
from bnfold.report.model import FormatName
from bnfold.verification import Verification, VerifyOptions


class OnnxFormat:
    """See `bnfold.api.formats.protocol.Format`."""

    @readable_text()
    def open(self, path: Path, options: FoldOptions, scratch: Path | None) -> "OnnxSource":
        """External data is mapped, not loaded."""
        return self._opened(path, open_model(path), options, scratch)

    @contextmanager
    def load(self, path: Path, options: FoldOptions) -> "Iterator[OnnxSource]":
        """With all data inside; a model too large for that is folded by way of a file."""
        with readable_text():
            opened = open_model(path)
        if size_of([path, *opened.data_files]) > message.LARGEST_MESSAGE:
            with tempfile.TemporaryDirectory(prefix="bnfold.") as folder:
                source = self._opened(path, opened, options, Path(folder))
                yield _LargeSource(**vars(source), file=Path(folder, path.name))
            return
        embed_external_data(opened)
        yield self._held(opened, options)

    @readable_text()
    def hold(self, model: object, options: FoldOptions) -> "OnnxSource":
        """A copy of a protobuf."""
        if not isinstance(model, onnx.ModelProto):
            raise UsageError(f"cannot fold a {type(model).__name__}: expected an onnx.ModelProto")
        require_serialisable(model)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        check_model(copy)
        opened = in_order(copy, TensorStore(None))
        check_external_data(opened)
        return self._held(opened, options)

    def _opened(self, path: Path, opened: OpenModel, options: FoldOptions, scratch: Path | None) -> "OnnxSource":
        """A model whose original is a file, or a copy of it that is read as an inference model."""
        size, before = size_of([path, *opened.data_files]), _measure(opened.model)
        changed = options.assume_inference and assume_inference(opened.model)
        reference = path if scratch is None or not changed else _written(opened, scratch, path.name)
        return OnnxSource(opened, reference, options, before, size, changed)

    def _held(self, opened: OpenModel, options: FoldOptions) -> "OnnxSource":
        """A model whose original is in memory."""
        opened = replace(opened, store=TensorStore(None))
        before = _measure(opened.model)
        changed = options.assume_inference and assume_inference(opened.model)
        reference = opened.model.SerializeToString(deterministic=True)
        return OnnxSource(opened, reference, options, before, len(reference), changed)


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
    before: "_Measures"
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
        names = ", ".join(f"{domain}::{name}" for domain, name in sorted(self._inlined))
        why = "more BatchNorms fold then"
        return (*self.opened.warnings, f"functions of the model were inlined, because {why}: {names}")

    @property
    def data_files(self) -> Sequence[Path]:
        """See Source."""
        return self.opened.data_files

    @readable_text()
    def fold(self, without: Collection[int], watch: Stopwatch) -> "OnnxFolded":
        """See Source."""
        opened = self._read_again() if self._folds else self.opened
        if self._inlined:
            opened = replace(opened, model=inline(opened.model, self._inlined))
        port, outcome = self._planned(opened, without)
        watch.lap("plan")
        moved_inside = port.finish()
        if not self._folds and self._finds_functions_to_inline(opened.model):
            self._folds.append(without)
            return OnnxSource.fold(self, without, watch)
        self._folds.append(without)
        if self.options.freeze_initializers:
            freeze_initializers(opened.model)
        after = _measure(opened.model)
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

    def _planned(self, opened: OpenModel, without: Collection[int]) -> tuple[OnnxPort, Outcome]:
        port = OnnxPort(
            opened.model,
            opened.store,
            exclude=self.options.exclude,
            without=without,
            keep_overridable=self.options.keep_overridable,
        )
        outcome = fold_graph(
            port,
            affine_nodes=self.options.affine,
            merge_branches=self.options.merge_branches,
            across=self.options.across,
        )
        return port, replace(outcome, unmatched=port.unmatched)

    def _finds_functions_to_inline(self, folded: onnx.ModelProto) -> bool:
        """Whether more BatchNorms fold where functions are inlined; then these are, from now on."""
        fresh = self.opened

        def read() -> onnx.ModelProto:
            nonlocal fresh
            fresh = self._read_again()
            return fresh.model

        def fold(model: onnx.ModelProto) -> None:
            port, _ = self._planned(replace(fresh, model=model), ())
            port.finish()

        exclude = self.options.exclude
        keys = functions_in_the_way(folded, exclude)
        if keys:
            self._inlined.update(worth_inlining(read, fold, keys, exclude))
        return bool(self._inlined)

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


@dataclass(frozen=True)
class _LargeSource(OnnxSource):
    """A model that fits in no message: folded into a file for a while, of which protobuf only serialises the graph.

    Attributes:
        file: to write, in a folder that nobody else uses.
    """

    file: Path = Path()

    def fold(self, without: Collection[int], watch: Stopwatch) -> "_LargeFolded":
        """See Source."""
        return _LargeFolded(**vars(super().fold(without, watch)), file=self.file)


@dataclass(frozen=True)
class _LargeFolded(OnnxFolded):
    file: Path

    @property
    def model(self) -> onnx.ModelProto:
        """The protobuf with all data inside."""
        opened = open_model(self.file)
        embed_external_data(opened)
        return opened.model

    def keep(self) -> OnnxCandidate:
        """See Folded."""
        return self.save(self.file.parent, self.file)


@dataclass(frozen=True)
class _Measures:
    nodes: int
    parameters: int


def _measure(model: onnx.ModelProto) -> _Measures:
    return _Measures(count_nodes(model), count_parameters(model))


def _written(opened: OpenModel, scratch: Path, name: str) -> Path:
    """The model as it is now, before the fold, as a file to compare with, where no result can be."""
    copy = onnx.ModelProto()
    copy.CopyFrom(opened.model)
    folder = Path(tempfile.mkdtemp(prefix="reference-", dir=scratch))
    return stage(OpenModel(copy, opened.store), [], folder, folder / name)[-1]


def require_serialisable(model: onnx.ModelProto) -> None:
    """Raise UsageError where a model in memory is too large to be serialised.

    What its tensors say of their size is added up: protobuf itself finds out by serialising it.
    """
    inside = (tensor for tensor in stored_tensors(model) if tensor.data_location != onnx.TensorProto.EXTERNAL)
    size = sum(math.prod(tensor.dims) * _width(tensor) for tensor in inside)
    if size > message.LARGEST_MESSAGE:
        raise UsageError(
            f"the model holds {size / 2**30:.1f} GiB of weights, and protobuf serialises no more than 2 GiB: save it "
            "with onnx.save(model, path, save_as_external_data=True), and give the path"
        )


def _width(tensor: onnx.TensorProto) -> float:
    """Bytes of one number, at least; strings count as one byte each."""
    try:
        return float(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        return 1.0
