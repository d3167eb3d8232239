"""ONNX models: files, and protobufs in memory."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx

from bnfold.api.formats.large_onnx import LargeSource, fits_in_a_message, require_serialisable
from bnfold.api.formats.onnx_models import OnnxSource, measure
from bnfold.api.options import FoldOptions
from bnfold.api.places import size_of
from bnfold.errors import UsageError
from bnfold.frontends.onnx.file import (
    OpenModel,
    check_external_data,
    check_model,
    embed_external_data,
    in_order,
    open_model,
    stage,
)
from bnfold.frontends.onnx.inference import assume_inference
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake import message
from bnfold.intake.tensors import stored_tensors
from bnfold.intake.text import readable_text


class OnnxFormat:
    """See `bnfold.api.formats.protocol.Format`."""

    @readable_text()
    def open(self, path: Path, options: FoldOptions, scratch: Path | None) -> OnnxSource:
        """External data is mapped, not loaded."""
        return self._opened(path, open_model(path), options, scratch)

    @contextmanager
    def load(self, path: Path, options: FoldOptions) -> Iterator[OnnxSource]:
        """With all data inside; a model too large for that is folded by way of a file."""
        with readable_text():
            opened = open_model(path)
        if size_of([path, *opened.data_files]) > message.LARGEST_MESSAGE:
            with tempfile.TemporaryDirectory(prefix="bnfold.") as folder:
                source = self._opened(path, opened, options, Path(folder))
                yield LargeSource(**vars(source), file=Path(folder, path.name))
            return
        embed_external_data(opened)
        yield self._held(opened, options)

    @readable_text()
    def hold(self, model: object, options: FoldOptions) -> OnnxSource:
        """A copy of a protobuf."""
        if not isinstance(model, onnx.ModelProto):
            raise UsageError(f"got {type(model).__name__}, expected an onnx.ModelProto")
        require_serialisable(model)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        check_model(copy)
        opened = in_order(copy, TensorStore(None))
        check_external_data(opened)
        return self._held(opened, options)

    @readable_text()
    def write(self, model: object, folder: Path, target: Path) -> Sequence[Path]:
        """Weights go into a file beside it only where a message of protobuf does not hold them."""
        if not isinstance(model, onnx.ModelProto):
            raise UsageError(f"cannot write a {type(model).__name__}: expected an onnx.ModelProto")
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        moved = [] if fits_in_a_message(copy) else list(stored_tensors(copy))
        return stage(OpenModel(copy, TensorStore(None)), moved, folder, target)

    def _opened(self, path: Path, opened: OpenModel, options: FoldOptions, scratch: Path | None) -> OnnxSource:
        """A model whose original is a file, or a copy of it that is read as an inference model."""
        size, before = size_of([path, *opened.data_files]), measure(opened.model)
        changed = options.assume_inference and assume_inference(opened.model)
        reference = path if scratch is None or not changed else _written(opened, scratch, path.name)
        return OnnxSource(opened, reference, options, before, size, changed)

    def _held(self, opened: OpenModel, options: FoldOptions) -> OnnxSource:
        """A model whose original is in memory."""
        opened = replace(opened, store=TensorStore(None))
        before = measure(opened.model)
        changed = options.assume_inference and assume_inference(opened.model)
        reference = opened.model.SerializeToString(deterministic=True)
        return OnnxSource(opened, reference, options, before, len(reference), changed)


def _written(opened: OpenModel, scratch: Path, name: str) -> Path:
    """The model as it is now, before the fold, as a file to compare with, where no result can be."""
    copy = onnx.ModelProto()
    copy.CopyFrom(opened.model)
    folder = Path(tempfile.mkdtemp(prefix="reference-", dir=scratch))
    return stage(OpenModel(copy, opened.store), [], folder, folder / name)[-1]
