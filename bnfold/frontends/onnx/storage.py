"""Where tensor data lies: inside the protobuf, or in files beside the model. Files are mapped, never loaded whole."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnx.numpy_helper

from bnfold.errors import ModelFormatError
from bnfold.frontends.common.rounded_weight import RoundedWeight
from bnfold.frontends.onnx.large_weights import Data, LargeWeights
from bnfold.intake.data_folder import DataFolder
from bnfold.intake.tensors import is_external, size_in_bytes, stored_tensors

AnyArray = npt.NDArray[np.generic]

_MOST_LENT = 2**25
"""Bytes of mapped files that may count as memory of the process before they are given back."""


class TensorStore:
    """Reads tensors of one model.

    Args:
        folder: of the model file, where external data lies; None for a model in memory.
        weights: the large weights of its file, which the protobuf does not hold; None where it holds all.

    Attributes:
        weights: see above.
    """

    def __init__(self, folder: DataFolder | None, weights: LargeWeights | None = None) -> None:
        self._folder = folder
        self.weights = weights
        self._lent = 0

    def read(self, tensor: onnx.TensorProto) -> AnyArray:
        """The values of a tensor in its own type.

        Raises:
            ModelFormatError: the data is missing or of the wrong length.
        """
        try:
            if is_external(tensor):
                values = self._read_external(tensor)
                self.has_lent(values.nbytes)
                return values
            outside = None if self.weights is None else self.weights.find(tensor)
            if isinstance(outside, RoundedWeight):
                return outside.array()
            if outside is not None:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                self.has_lent(len(outside))
                return np.frombuffer(outside, dtype).reshape(tuple(tensor.dims))
            return onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFormatError(f"tensor {tensor.name!r} cannot be read: {error}") from error

    def has_lent(self, size: int) -> None:
        """Note that so many bytes of mapped files may have been read; from time to time, they are let go."""
        self._lent += size
        if self._lent > _MOST_LENT:
            self._lent = 0
            if self._folder is not None:
                self._folder.let_go()
            if self.weights is not None:
                self.weights.let_go()

    def data(self, tensor: onnx.TensorProto) -> Data:
        """The bytes of a tensor, wherever they lie.

        Raises:
            ModelFormatError: as `raw_bytes`.
        """
        if is_external(tensor):
            return self.raw_bytes(tensor)
        outside = None if self.weights is None else self.weights.find(tensor)
        return memoryview(tensor.raw_data) if outside is None else outside

    def raw_bytes(self, tensor: onnx.TensorProto) -> memoryview:
        """The bytes of an external tensor, mapped.

        Raises:
            ModelFormatError: the file is missing, too short, or outside the model's folder.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if self._folder is None:
            raise ModelFormatError(
                f"tensor {tensor.name!r} lies in {location!r}, beside a model that was given without its path; "
                "give the path, or load the external data first"
            )
        try:
            data = self._folder.map(location)
        except ModelFormatError as error:
            raise ModelFormatError(f"tensor {tensor.name!r} {error}") from error
        needed = size_in_bytes(tensor)
        offset = _number(tensor, entries.get("offset", "0"))
        length = _number(tensor, entries["length"]) if "length" in entries else data.size - offset
        if offset + length > data.size or length < 0:
            raise ModelFormatError(
                f"tensor {tensor.name!r} needs bytes {offset} to {offset + length} of {location!r}, "
                f"which has {data.size}; the data file is truncated or belongs to another model"
            )
        if needed is not None and needed != length:
            raise ModelFormatError(
                f"tensor {tensor.name!r} takes {needed} bytes by its type and shape, and has {length} in {location!r}; "
                "the data file belongs to another model"
            )
        return data[offset : offset + length].data

    def data_files(self, model: onnx.ModelProto) -> list[Path]:
        """The files beside the model that hold data of its tensors, without repeats."""
        if self._folder is None:
            return []
        locations = {
            entry.value: None
            for tensor in stored_tensors(model)
            if is_external(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
        return [self._folder.path / location for location in locations]

    def _read_external(self, tensor: onnx.TensorProto) -> AnyArray:
        raw = self.raw_bytes(tensor)
        inline = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if dtype.itemsize * math.prod(tensor.dims) == raw.nbytes:
            return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
        inline.raw_data = raw.tobytes()
        return onnx.numpy_helper.to_array(inline)


def _number(tensor: onnx.TensorProto, text: str) -> int:
    """An offset or a length as files spell it. No file has bytes beyond the twentieth digit."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ModelFormatError(f"external data of tensor {tensor.name!r}: {text[:20]!r} is no count of bytes")
    return int(text)
