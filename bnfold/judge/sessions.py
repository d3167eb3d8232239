"""onnxruntime, made quiet, literal and one-line.

onnxruntime is imported when the first session is made, not when this module is.
"""

import ctypes
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.errors import VerificationError
from bnfold.judge.signature import Port, Signature

if TYPE_CHECKING:
    import onnxruntime

ModelSource = str | os.PathLike[str] | bytes
"""A path, so that external data beside it is found and size is no limit, or a serialised ModelProto."""

Feeds = Mapping[str, npt.NDArray[Any]]

_BFLOAT16 = "tensor(bfloat16)"
_ONNX_BFLOAT16 = 16  # TensorProto.BFLOAT16


class Session:
    """One model on onnxruntime's CPU provider.

    Args:
        role: how messages call the model: "the original".
        source: the model.
        optimised: False runs the graph as it is written (ORT_DISABLE_ALL). By default onnxruntime folds BatchNorms
            itself, and a comparison with that would prove nothing. True is for measuring its rounding.

    Raises:
        VerificationError: onnxruntime does not take the model.
    """

    def __init__(self, role: str, source: ModelSource, *, optimised: bool = False) -> None:
        self.role = role
        try:
            self._session = _open(source, optimised)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise VerificationError(f"onnxruntime cannot load {role}: {_one_line(error)}") from error
        self.signature = Signature(
            inputs=_ports(self._session.get_inputs()),
            overridable=_ports(self._session.get_overridable_initializers()),
            outputs=_ports(self._session.get_outputs()),
        )
        ports = self.signature.inputs + self.signature.outputs
        self._has_bfloat16 = any(port.type == _BFLOAT16 for port in ports)

    def run(self, feeds: Feeds) -> list[object]:
        """The outputs, in order: an array each, or a list, dict or None of them where the model says so.

        Raises:
            VerificationError: onnxruntime cannot run the model on these inputs.
        """
        try:
            return self._run_as_bits(feeds) if self._has_bfloat16 else list(self._session.run(None, dict(feeds)))
        except Exception as error:
            raise VerificationError(f"onnxruntime cannot run {self.role}: {_one_line(error)}") from error

    def _run_as_bits(self, feeds: Feeds) -> list[object]:
        """Numpy has no bfloat16 of its own, and onnxruntime does not know the one of ml_dtypes: pass the bits."""
        values = {name: _to_value(array) for name, array in feeds.items()}
        return [_to_array(value) for value in self._session.run_with_ort_values(None, values)]


def _open(source: ModelSource, optimised: bool) -> "onnxruntime.InferenceSession":
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    settings.log_severity_level = 4  # fatal only: what matters comes as an exception
    model = source if isinstance(source, bytes) else os.fspath(source)
    # Without enable_fallback=0, onnxruntime prints its errors to stdout and tries again.
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"], enable_fallback=0)


def _ports(arguments: list[Any]) -> tuple[Port, ...]:
    return tuple(Port(argument.name, argument.type, tuple(argument.shape)) for argument in arguments)


def _to_value(array: npt.NDArray[Any]) -> "onnxruntime.OrtValue":
    import onnxruntime

    if array.dtype == ml_dtypes.bfloat16:
        bits = np.ascontiguousarray(array).view(np.uint16)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ONNX_BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _to_array(value: "onnxruntime.OrtValue") -> object:
    if value.data_type() != _BFLOAT16:
        return value.numpy()
    shape = tuple(value.shape())
    bits = (ctypes.c_uint16 * int(np.prod(shape))).from_address(value.data_ptr())
    return np.array(bits, np.uint16).view(ml_dtypes.bfloat16).reshape(shape)


def _one_line(error: Exception) -> str:
    """The message without onnxruntime's "[ONNXRuntimeError] : 1 : FAIL : " and without line ends."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= 400 else text[:397] + "..."
