"""ONNX models that are larger than protobuf serialises at once: 2 GiB."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx

from bnfold.api.formats.onnx_models import OnnxCandidate, OnnxFolded, OnnxSource
from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import UsageError
from bnfold.frontends.onnx.file import (
    embed_external_data,
    open_model,
)
from bnfold.intake import message
from bnfold.intake.tensors import stored_tensors
from bnfold.sizes import memory


@dataclass(frozen=True)
class LargeSource(OnnxSource):
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


def require_serialisable(model: onnx.ModelProto) -> None:
    """Raise UsageError where a model in memory is too large to be serialised."""
    if not fits_in_a_message(model):
        raise UsageError(
            f"the model holds {memory(int(_size(model)))} of weights, and protobuf serialises no more than 2 GiB: "
            "save it with onnx.save(model, path, save_as_external_data=True), and give the path"
        )


def fits_in_a_message(model: onnx.ModelProto) -> bool:
    """Whether protobuf serialises a model, by what its tensors say of their size: it finds out by serialising it."""
    return _size(model) <= message.LARGEST_MESSAGE


def _size(model: onnx.ModelProto) -> float:
    inside = (tensor for tensor in stored_tensors(model) if tensor.data_location != onnx.TensorProto.EXTERNAL)
    return math.fsum(math.prod(tensor.dims) * _width(tensor) for tensor in inside)


def _width(tensor: onnx.TensorProto) -> float:
    """Bytes of one number, at least; strings count as one byte each."""
    try:
        return float(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        return 1.0
