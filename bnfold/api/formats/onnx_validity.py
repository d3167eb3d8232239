"""Whether an ONNX model that torch's exporter made is one that others can read and run."""

import onnx
import torch

from bnfold.errors import UnsupportedModelError
from bnfold.keywords import keyword
from bnfold.verifier.run.complaints import one_line

# So that nothing but reading the model and finding kernels takes time.
_ERRORS_ONLY = 3


def require_runnable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, if onnx.checker and onnxruntime accept it.

    Raises:
        UnsupportedModelError: one of them does not; the message says why.
    """
    import onnxruntime

    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever it finds: its own errors, and those of shape inference
        raise _refused(model, f"onnx {onnx.__version__}", error) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime's own classes, which have no common base
        raise _refused(model, f"onnxruntime {onnxruntime.__version__}", error) from error
    return model


def _refused(model: onnx.ModelProto, by: str, error: Exception) -> UnsupportedModelError:
    coarse = any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in model.graph.initializer)
    way_out = f"; convert the program to float32 or float16 first, or leave out {keyword('to', 'onnx')}"
    advice = way_out if coarse else ""
    why = one_line(error)[:300]
    return UnsupportedModelError(f"as torch {torch.__version__} exports it, {by} does not accept it: {why}{advice}")
