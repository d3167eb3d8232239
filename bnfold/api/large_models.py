"""ONNX models that are larger than protobuf serialises at once: 2 GiB."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from bnfold.api.onnx_models import load_proto, stage_onnx
from bnfold.api.options import FoldOptions, FoldResult
from bnfold.api.places import size_of
from bnfold.errors import UsageError
from bnfold.frontends.onnx.file import OpenModel
from bnfold.intake.tensors import stored_tensors
from bnfold.report.model import Report
from bnfold.writing.destination import destination_of

LARGEST_MESSAGE = 2**31 - 2**20
"""Bytes of weights, with room for the rest of the model."""


def is_large(path: Path, opened: OpenModel) -> bool:
    """Whether a file, with its external data, is too large to be serialised as one message."""
    return size_of([path, *opened.data_files]) > LARGEST_MESSAGE


def require_serialisable(model: onnx.ModelProto) -> None:
    """Raise UsageError where a model in memory is too large to be serialised.

    What its tensors say of their size is added up: protobuf itself finds out by serialising it.
    """
    inside = (tensor for tensor in stored_tensors(model) if tensor.data_location != onnx.TensorProto.EXTERNAL)
    size = sum(math.prod(tensor.dims) * _width(tensor) for tensor in inside)
    if size > LARGEST_MESSAGE:
        raise UsageError(
            f"the model holds {size / 2**30:.1f} GiB of weights, and protobuf serialises no more than 2 GiB: save it "
            "with onnx.save(model, path, save_as_external_data=True), and give the path"
        )


def explain_file(path: Path, options: FoldOptions) -> Report:
    """What would be folded in a file, of any size: nothing is serialised, and no data is read that no fold needs.

    Raises:
        ModelFormatError, UnsupportedModelError: it cannot be read or folded.
    """
    return stage_onnx(path, None, path.parent, replace(options, verify=None), lambda _: None).report


def fold_large_file(path: Path, options: FoldOptions) -> FoldResult:
    """Fold a file into a model in memory by way of a file for a while, of which protobuf only serialises the graph.

    Raises:
        ModelFormatError, UnsupportedModelError, VerificationError, UncheckedError: as `stage_onnx`.
        UsageError: there is no room for the file in the folder of temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="bnfold.") as folder:
        target = destination_of(Path(folder, path.name))
        staged = stage_onnx(path, target, Path(folder), options, lambda _: None)
        return FoldResult(load_proto(staged.files[-1]), replace(staged.report, output=None))


def _width(tensor: onnx.TensorProto) -> float:
    """Bytes of one number, at least; strings count as one byte each."""
    try:
        return float(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        return 1.0
