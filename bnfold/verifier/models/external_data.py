"""Values of tensors that lie beside their model: in its own file, in files of external data, or in memory.

onnxruntime maps such files: sessions of one model share the values, and none of them copies them. But neither it nor
onnx follows a symbolic link out of the model's folder when it is given a model as bytes, and caches of models are made
of such links: the verifier maps these itself.
"""

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import ModelFormatError
from bnfold.intake.data_folder import DataFolder
from bnfold.intake.tensors import is_external
from bnfold.verifier.run.complaints import RefusedError

if TYPE_CHECKING:
    from onnx import TensorProto

Array = npt.NDArray[Any]

_IN_MEMORY = "memory"


def lies_at(tensor: "TensorProto", location: str) -> bool:
    """Whether a tensor says that its values are at a location."""
    return is_external(tensor) and _entries(tensor).get("location") == location


def of_buffer(tensor: "TensorProto", data: bytes | Array) -> Array:
    """The values of a tensor whose data lies in some bytes, at the offset that it says.

    Raises:
        ValueError: there are too few.
    """
    dtype, shape, offset = _layout(tensor)
    return np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)


class Files:
    """Files of external data, each of them mapped once.

    Args:
        role: how messages call the model.
        folder: that it lies in; None where it lies in none.
    """

    def __init__(self, role: str, folder: DataFolder | None) -> None:
        self._role, self._folder = role, folder
        self._plain: dict[str, bool] = {}

    def has(self, tensor: "TensorProto") -> bool:
        """Whether the data of a tensor truly is in the folder, whatever links there are on the way."""
        location = _entries(tensor).get("location", "")
        if location not in self._plain:
            self._plain[location] = self._folder is not None and self._folder.lies_plainly(location)
        return self._plain[location]

    def values(self, tensor: "TensorProto") -> Array:
        """Those of a tensor whose elements take whole bytes. They need not be aligned.

        Raises:
            RefusedError: the data is missing, too short, or outside the folder.
        """
        try:
            data = self._map(tensor)
            dtype, shape, _ = _layout(tensor)
            return np.zeros(shape, dtype) if 0 in shape else of_buffer(tensor, data)
        except (ValueError, TypeError, KeyError) as error:
            raise self._error(tensor, f"cannot be read: {error}") from error

    def require(self, tensor: "TensorProto") -> None:
        """Look whether the file of a tensor's data may be read.

        Raises:
            RefusedError: as `values`.
        """
        self._map(tensor)

    def _map(self, tensor: "TensorProto") -> Array:
        location = _entries(tensor).get("location", "")
        if self._folder is None:
            raise self._error(tensor, f"lies in {location!r}, beside a model that was given without its path")
        try:
            return self._folder.map(location)
        except ModelFormatError as error:
            raise self._error(tensor, str(error)) from error

    def _error(self, tensor: "TensorProto", problem: str) -> RefusedError:
        return RefusedError(
            f"onnxruntime cannot load {self._role}: the data of {tensor.name!r} {problem}", is_invalid=True
        )


def _entries(tensor: "TensorProto") -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _layout(tensor: "TensorProto") -> "tuple[np.dtype[Any], tuple[int, ...], int]":
    """Type, shape, and the offset in bytes."""
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return dtype, tuple(tensor.dims), int(_entries(tensor).get("offset", 0))
