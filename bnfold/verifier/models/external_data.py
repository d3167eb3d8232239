"""Values of tensors that lie beside their model: in its own file or bytes, or in files of external data.

onnxruntime maps such files: sessions of one model share the values, and none of them copies them. But neither it nor
onnx follows a symbolic link out of the model's folder when it is given a model as bytes, and caches of models are made
of such links: the verifier maps these itself.
"""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import ModelFormatError
from bnfold.intake import protobuf_scan
from bnfold.intake.data_folder import DataFolder
from bnfold.verifier.models.refused import RefusedError

if TYPE_CHECKING:
    from onnx import TensorProto

    from bnfold.intake.protobuf_fields import Buffer

Array = npt.NDArray[Any]

OWN_BYTES = "/"
"""Where data lies that is in the bytes of the model itself: the name of no file."""


def without_weights(data: "Buffer", location: str) -> bytes:
    """The same model, whose large initializers say where in the file their data lies, as ONNX's external data does.

    Args:
        data: a serialised ModelProto.
        location: the name of the file that it lies in, or OWN_BYTES.

    Raises:
        ValueError, DecodeError: it is none.
    """

    def mark(tensor: "TensorProto", begin: int, size: int) -> None:
        tensor.data_location = tensor.EXTERNAL
        for key, value in (("location", location), ("offset", str(begin)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)

    return protobuf_scan.without_weights(data, mark)


class Files:
    """Where the data of a model lies.

    Args:
        role: how messages call the model.
        path: of its file; None where it is in none.
        own: its bytes, where it was given as such.
    """

    def __init__(self, role: str, path: Path | None = None, own: bytes = b"") -> None:
        self._role, self._own = role, own
        self._folder = None if path is None else DataFolder(path)
        self._plain: dict[str, bool] = {}

    @property
    def folder(self) -> Path | None:
        """In which onnxruntime finds data by itself."""
        return None if self._folder is None else self._folder.path

    def finds(self, tensor: "TensorProto") -> bool:
        """Whether onnxruntime finds the data of a tensor by itself: truly in the folder, whatever links lead there."""
        location = _entries(tensor).get("location", "")
        if location not in self._plain:
            self._plain[location] = self._folder is not None and self._folder.lies_plainly(location)
        return self._plain[location]

    def values(self, tensor: "TensorProto") -> Array:
        """Those of a tensor whose elements take whole bytes. They need not be aligned.

        Raises:
            RefusedError: the data is missing, too short, or outside the folder.
        """
        data = self.data(tensor)
        try:
            return of_buffer(tensor, data)
        except (ValueError, TypeError, KeyError) as error:
            raise self._error(tensor, f"cannot be read: {error}") from error

    def data(self, tensor: "TensorProto") -> bytes | Array:
        """All that lies where the data of a tensor does.

        Raises:
            RefusedError: as `values`.
        """
        location = _entries(tensor).get("location", "")
        if self._own and location == OWN_BYTES:
            return self._own
        if self._folder is None:
            raise self._error(tensor, f"lies in {location!r}, beside a model that was given without its path")
        try:
            return self._folder.map(location)
        except ModelFormatError as error:
            raise self._error(tensor, str(error)) from error

    def _error(self, tensor: "TensorProto", problem: str) -> RefusedError:
        message = f"onnxruntime cannot load {self._role}: the data of {tensor.name!r} {problem}"
        return RefusedError(message, is_invalid=True)


def of_buffer(tensor: "TensorProto", data: bytes | Array) -> Array:
    """The values of a tensor whose data lies in some bytes, at the offset that it says.

    Raises:
        ValueError: there are too few.
    """
    from onnx import helper

    dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype, prod(shape), int(_entries(tensor).get("offset", 0))).reshape(shape)


def _entries(tensor: "TensorProto") -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
