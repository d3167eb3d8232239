"""Operators without weights, with the attributes that decide what may pass them: images are (2, channels, 6, 4)."""

from tests.onnx.paths import step

SPATIAL = [2, 3]

# Any scale and any shift over the channels.
ANY = [
    step("AveragePool", kernel_shape=[2, 2]),
    step("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    step("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    step("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    step("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
    step("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
    step("AveragePool", kernel_shape=[2, 2], auto_pad="VALID", count_include_pad=1),
    step("AveragePool", kernel_shape=[2, 2], count_include_pad=1),
    step("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 0, 0], opset=7),
    step("AveragePool", kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 0, 1], opset=19),
    step("GlobalAveragePool"),
    step("ReduceMean", axes=SPATIAL),
    step("ReduceMean", axes=[-1], keepdims=1),
    step("ReduceMean", axes=[-1, -2], keepdims=0),
    step("ReduceMean", axes=[3], keepdims=0, opset=7),
    step("ReduceMean", SPATIAL, opset=18),
    step("ReduceMean", [-2], opset=18, keepdims=0),
    step("ReduceMean", [], opset=18, noop_with_empty_axes=1),
    step("ReduceSum", SPATIAL),
    step("ReduceSum", [-1], keepdims=0),
    step("ReduceSum", [], noop_with_empty_axes=1),
    step("ReduceSum", axes=SPATIAL, opset=11),
    step("Neg"),
    step("Identity"),
    step("Dropout"),
    step("Dropout", ratio=0.5, opset=7),
    step("Pad", [0, 0, 1, 2, 0, 0, 2, 1], mode="edge"),
    step("Pad", [0, 0, 1, 2, 0, 0, 2, 1], mode="reflect"),
    step("Pad", [0, 0, 1, 2, 0, 0, 2, 1], mode="wrap", opset=19),
    step("Pad", [0, 0, -1, 2, 0, 0, 2, -1], mode="edge"),
    step("Pad", [1, 1], None, [3], mode="edge", opset=18),
    step("Pad", [0, 0, 0, 0, 0, 0, 0, 0]),
    step("Pad", mode="edge", pads=[0, 0, 1, 0, 0, 0, 0, 2], opset=7),
    step("Resize", None, [1.0, 1.0, 2.0, 2.0], mode="nearest"),
    step("Resize", None, [1.0, 1.0, 2.0, 1.5], mode="linear"),
    step("Resize", None, [1.0, 1.0, 1.5, 2.0], mode="linear", coordinate_transformation_mode="align_corners"),
    step("Resize", None, [1.0, 1.0, 2.0, 2.0], mode="cubic"),
    step("Resize", None, [1.0, 1.0, 2.0, 2.0], mode="cubic", exclude_outside=1),
    step("Resize", None, [1.0, 1.0, 0.5, 0.5], mode="linear", antialias=1, opset=18),
    step("Resize", None, [1.0, 1.0, 0.5, 0.5], mode="cubic", antialias=1, exclude_outside=1, opset=18),
    step("Resize", None, None, [2, 4, 3, 9], mode="nearest", coordinate_transformation_mode="asymmetric"),
    step("Resize", None, None, [3, 9], mode="linear", axes=[2, 3], opset=18),
    step("Resize", None, [1.2, 1.9], mode="nearest", axes=[2, 3], opset=18),
    step("Resize", [1.0, 1.0, 2.0, 2.0], mode="linear", opset=10),
    step("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 2.0], opset=7),
    step("Upsample", [1.0, 1.0, 2.0, 3.0], mode="linear", opset=9),
]

# Any scale, no shift.
NO_SHIFT = [
    step("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    step("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER", count_include_pad=1),
    step("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1),
    step("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 1, 0], count_include_pad=1, opset=7),
    step("CumSum", [2]),
    step("CumSum", [-1], exclusive=1, reverse=1),
    step("Pad", [0, 0, 1, 2, 0, 0, 2, 1]),
    step("Pad", [0, 0, 1, 2, 0, 0, 2, 1], 0.0),
    step("Pad", [0, 0, -1, 2, 0, 0, 2, -1]),
    step("Pad", [1, 2], 0.0, [-1], opset=18),
    step("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], opset=7),
    step(
        "Resize",
        [0.0, 0.0, 0.1, -0.2, 1.0, 1.0, 1.2, 0.9],
        [1.0, 1.0, 2.0, 2.0],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
]

# A scale >= 0 and any shift.
MAXIMA = [
    step("MaxPool", kernel_shape=[2, 2]),
    step("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    step("MaxPool", kernel_shape=[2, 2], dilations=[2, 2], auto_pad="VALID"),
    step("MaxPool", kernel_shape=[3, 3], auto_pad="SAME_LOWER"),
    step("MaxPool", kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 1, 1], opset=7),
    step("GlobalMaxPool"),
    step("ReduceMax", axes=SPATIAL),
    step("ReduceMax", SPATIAL, opset=18, keepdims=0),
    step("ReduceMax", [-1], opset=20),
    step("ReduceMin", axes=[-1], keepdims=0),
    step("ReduceMin", axes=SPATIAL, opset=11),
    step("ReduceMin", SPATIAL, opset=18),
]

# A scale >= 0, no shift.
RAMPS = [
    step("Relu"),
    step("Relu", opset=7),
    step("LeakyRelu", alpha=0.2),
    step("LeakyRelu", alpha=-0.7, opset=15),
    step("PRelu", 0.3),
    step("PRelu", [[[0.3]], [[-2.0]], [[1.0]], [[0.0]]]),
    step("PRelu", [[[0.5, -1.0, 2.0, 0.1]]], opset=9),
    step("Abs"),
]

# Axis 1 is mixed with others, or does not come through.
MIXED = [
    step("ReduceMean", axes=[1]),
    step("ReduceMean", axes=[-3, 0]),
    step("ReduceMean"),
    step("ReduceMean", [], opset=18),
    step("ReduceSum", [1, 2]),
    step("ReduceMax", axes=[1]),
    step("CumSum", [1]),
    step("Pad", [0, 1, 0, 0, 0, 0, 0, 0], mode="edge"),
    step("Pad", [0, 1, 0, 0, 0, -1, 0, 0], mode="reflect"),
    step("Resize", None, [1.0, 2.0, 1.0, 1.0], mode="nearest"),
    step("Resize", None, [1.0, 1.24, 2.0, 1.0], mode="nearest"),
]

# Neither a scale nor a shift.
OPAQUE = [
    step(
        "Resize",
        [0.0, 0.0, 0.1, -0.2, 1.0, 1.0, 1.2, 0.9],
        [1.0, 1.0, 2.0, 2.0],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=0.5,
    ),
    step("Sigmoid"),
    step("Clip", -1.0, 1.0),
]
