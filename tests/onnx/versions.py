"""The versions of ONNX that the tests go through."""

import onnx
import onnxruntime

from tests.folding import session
from tests.networks import Network


def newest_opset_that_runs() -> int:
    """The newest opset that both onnx and onnxruntime here know."""
    for opset in range(onnx.defs.onnx_opset_version(), 21, -1):
        network = Network(opset=opset)
        network.node("Relu", ["x"], "y")
        try:
            session(network.model({"x": (1,)}, ["y"]))
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
            continue
        return opset
    raise AssertionError("onnxruntime runs no opset from 22 on")


OPSETS = sorted({7, 8, 9, 11, 13, 14, 15, 18, 21, 22, newest_opset_that_runs()})
IR_VERSIONS = (3, 4, 8, 10)
