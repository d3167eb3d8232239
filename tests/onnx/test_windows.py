"""The windows that decoders read make the places that onnxruntime makes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from tests.rules import slide

WEIGHT = np.random.default_rng(0).normal(size=(4, 1, 3, 2)).astype(np.float32)


def model(shape, **attributes):
    """A grouped Conv of a 3 x 2 kernel over an input of this shape."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [onnx.numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def contraction(proto):
    port = OnnxPort(proto, TensorStore(None))
    return port.decode(next(iter(port.nodes())))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3]},
        {"dilations": [2, 1], "pads": [0, 1, 2, 3]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER", "strides": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
        {"auto_pad": "VALID", "strides": [2, 1]},
        {"kernel_shape": [3, 2], "strides": [3, 3], "pads": [2, 0, 0, 1]},
    ],
    ids=str,
)
@pytest.mark.parametrize("space", [(7, 8), (8, 7)])
def test_window(attributes, space):
    proto = model((2, 2, *space), **attributes)
    node = contraction(proto)
    x = np.random.default_rng(1).normal(size=(2, 2, *space)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    assert np.allclose(slide.slide(node, x.astype(np.float64)), expected, atol=1e-5)
    for axis, length in enumerate(expected.shape[2:]):
        assert node.window.output_length(axis, WEIGHT.shape[2 + axis]) == length


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_of_a_stride_needs_the_length(auto_pad):
    assert contraction(model((1, 2, None, 8), auto_pad=auto_pad, strides=[2, 2])).window is None
    assert contraction(model((1, 2, None, None), auto_pad=auto_pad)).window is not None


@pytest.mark.parametrize("attributes", [{"pads": [0, 0]}, {"strides": [1]}, {"dilations": [1, 1, 1]}], ids=str)
def test_attributes_that_contradict_the_kernel(attributes):
    assert contraction(model((1, 2, 8, 8), **attributes)).window is None
