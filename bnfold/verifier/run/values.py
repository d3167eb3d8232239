"""Numbers that numpy and onnxruntime both hold, without a copy: what a run makes is looked at where it is.

A network's inner tensors take more memory than its weights, and memory that is new to a process is dear.
"""

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.dtypes import BFLOAT16

if TYPE_CHECKING:
    import onnxruntime

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_CPU = "cpu"


def to_value(array: Array) -> "onnxruntime.OrtValue":
    """A tensor for onnxruntime, in the memory of the array where that is in order and aligned."""
    import onnxruntime

    plain = np.require(array, requirements=("C", "ALIGNED"))
    if array.dtype == _BFLOAT16:  # onnxruntime does not know the one of ml_dtypes
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(plain.view(np.uint16), BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(plain)


def to_array(value: "onnxruntime.OrtValue", dtype: "np.dtype[Any]") -> Array:
    """A tensor of onnxruntime's, read-only in its own memory; not of strings."""
    shape = tuple(value.shape())
    if 0 in shape:
        return np.empty(shape, dtype)
    if value.device_name().lower() != _CPU and dtype != _BFLOAT16:
        return np.asarray(value.numpy())
    bits = np.dtype(np.uint16) if dtype == _BFLOAT16 else dtype
    return np.asarray(_Lent(value, bits, shape)).view(dtype)


class _Lent:
    """What an array holds that looks into a tensor of onnxruntime's, so that it stays.

    Source: numpy, "The array interface protocol", version 3.
    """

    def __init__(self, value: "onnxruntime.OrtValue", dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> None:
        self._value = value
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (value.data_ptr(), True),
        }
