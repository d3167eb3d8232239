"""External data of a model, mapped from its files.

Neither onnx nor onnxruntime follows a symbolic link out of the model's folder when it is given a model as bytes, and
caches of models are made of such links: the judge reads the files itself.
"""

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import VerificationError

if TYPE_CHECKING:
    from onnx import TensorProto

Array = npt.NDArray[Any]


def is_external(tensor: "TensorProto") -> bool:
    """Whether the values of a tensor lie in another file."""
    from onnx import TensorProto

    return bool(tensor.data_location == TensorProto.EXTERNAL)


def map_external(role: str, tensor: "TensorProto", folder: str) -> Array:
    """The values of a tensor whose elements take whole bytes.

    Args:
        role: how messages call the model.
        tensor: one with external data.
        folder: of the model.

    Raises:
        VerificationError: the data is missing, too short, or outside the folder.
    """
    from onnx import helper

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = PurePath(entries.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        problem = f"the data of {tensor.name!r} lies outside the model's folder: {location}"
        raise VerificationError(f"onnxruntime cannot load {role}: {problem}")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    path = Path(folder, location)
    if 0 in shape:
        return np.zeros(shape, dtype)
    try:
        return np.memmap(path, dtype, "r", offset=int(entries.get("offset", 0)), shape=shape)
    except (OSError, ValueError) as error:
        problem = f"the data of {tensor.name!r} cannot be read from {path}: {error}"
        raise VerificationError(f"onnxruntime cannot load {role}: {problem}") from error
