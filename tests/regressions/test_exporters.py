"""Graphs as other exporters write them, node by node."""

import numpy as np

from tests.folding import fold_and_compare
from tests.networks import Network


def operators(folded):
    return [node.op_type for node in folded.model.graph.node]


def test_tensorflow_style_with_channels_last_and_decomposed_batch_norms():
    """tf2onnx: transposes around each Conv, BatchNorm as Mul and Add over the last axis, Dense as MatMul and Add."""
    network = Network(opset=13)
    tensor = "input:0"
    for number, channels in enumerate([3, 8]):
        block = f"model/conv2d_{number}"
        tensor = network.node("Transpose", [tensor], f"{block}/to_nchw:0", perm=[0, 3, 1, 2])
        weight = network.weight(f"{block}/kernel:0", 8, channels, 3, 3)
        tensor = network.node("Conv", [tensor, weight], f"{block}/Conv2D:0", auto_pad="SAME_UPPER")
        tensor = network.node("Transpose", [tensor], f"{block}/to_nhwc:0", perm=[0, 2, 3, 1])
        tensor = network.node("Mul", [tensor, network.weight(f"{block}/bn/mul:0", 8)], f"{block}/bn/FusedMul:0")
        tensor = network.node("Add", [tensor, network.weight(f"{block}/bn/add:0", 8)], f"{block}/bn/FusedAdd:0")
        tensor = network.node("Relu", [tensor], f"{block}/Relu:0")
    tensor = network.node("ReduceMean", [tensor], "model/pool/Mean:0", axes=[1, 2], keepdims=0)
    tensor = network.node("MatMul", [tensor, network.weight("model/dense/kernel:0", 8, 5)], "model/dense/MatMul:0")
    tensor = network.node("Add", [tensor, network.weight("model/dense/bias:0", 5)], "model/dense/BiasAdd:0")
    tensor = network.node("Mul", [tensor, network.weight("model/bn/mul:0", 5)], "model/bn/FusedMul:0")
    tensor = network.node("Add", [tensor, network.weight("model/bn/add:0", 5)], "output:0")
    folded = fold_and_compare(network.model({"input:0": ["batch", 8, 8, 3]}, ["output:0"]))
    block = ["Transpose", "Conv", "Transpose", "Relu"]
    assert operators(folded) == [*block, *block, "ReduceMean", "Gemm"]
    assert not folded.kept


def test_paddle_style_with_reshaped_biases_and_hard_swish():
    """paddle2onnx: Conv, a bias reshaped and added, BatchNormalization; a bottleneck that pools, and a last MatMul."""
    network = Network(opset=11)
    tensor = "image"
    for number, (channels, groups) in enumerate([(3, 1), (8, 8)]):
        weight = network.weight(f"conv2d_{number}.w_0", 8, channels // groups, 3, 3)
        tensor = network.node("Conv", [tensor, weight], f"conv2d_{number}.tmp_0", group=groups, pads=[1, 1, 1, 1])
        shape = network.constant(f"shape_{number}", [1, 8, 1, 1], "int64")
        bias = network.node("Reshape", [network.weight(f"conv2d_{number}.b_0", 8), shape], f"bias_{number}")
        tensor = network.node("Add", [tensor, bias], f"conv2d_{number}.tmp_1")
        tensor = network.batch_norm(tensor, f"batch_norm_{number}.tmp_2", 8, epsilon=1e-5, momentum=0.9)
        moved = network.node("Add", [tensor, network.constant(f"three_{number}", [3.0])], f"hs_{number}_add")
        limits = [network.constant(f"low_{number}", 0.0), network.constant(f"high_{number}", 6.0)]
        clipped = network.node("Clip", [moved, *limits], f"hs_{number}_clip")
        scaled = network.node("Mul", [tensor, clipped], f"hs_{number}_mul")
        tensor = network.node("Div", [scaled, network.constant(f"six_{number}", [6.0])], f"hs_{number}_out")
    tensor = network.node("GlobalAveragePool", [tensor], "pool2d_0.tmp_0")
    tensor = network.batch_norm(tensor, "batch_norm_9.tmp_2", 8)
    tensor = network.node("Flatten", [tensor], "flatten_0.tmp_0")
    tensor = network.node("MatMul", [tensor, network.weight("linear_0.w_0", 8, 5)], "linear_0.tmp_0")
    network.node("Add", [tensor, network.weight("linear_0.b_0", 5)], "linear_0.tmp_1")
    folded = fold_and_compare(network.model({"image": ["N", 3, 8, 8]}, ["linear_0.tmp_1"]))
    assert folded.batch_norms_left == 0


def test_caffe2_style_with_scale_layers_and_sums():
    """onnx-caffe2: IR 3, every weight an input too, Mul and Add with unsqueezed constants behind a BatchNorm, Sum."""
    network = Network(opset=9, ir_version=3)

    def block(source, name):
        tensor = network.node(
            "Conv", [source, network.weight(f"{name}_w_0", 4, 4, 3, 3)], f"{name}_1", pads=[1, 1, 1, 1]
        )
        tensor = network.batch_norm(tensor, f"{name}_bn_1", 4)
        for kind in ("Mul", "Add"):
            constant = network.weight(f"{name}_{kind}_0", 4)
            unsqueezed = network.node("Unsqueeze", [constant], f"{name}_{kind}_u", axes=[1, 2])
            tensor = network.node(kind, [tensor, unsqueezed], f"{name}_{kind}_1")
        return tensor

    left = network.node("Relu", [block("gpu_0/data_0", "branch2a")], "branch2a_relu")
    total = network.node("Sum", [block(left, "branch2b"), block("gpu_0/data_0", "branch1")], "sum_1")
    pooled = network.node("AveragePool", [network.node("Relu", [total], "relu_1")], "pool_1", kernel_shape=[8, 8])
    flat = network.node("Reshape", [pooled, network.constant("shape", np.array([1, 4]), "int64")], "flat_1")
    operands = [flat, network.weight("pred_w_0", 5, 4), network.weight("pred_b_0", 5)]
    network.node("Softmax", [network.node("Gemm", operands, "pred_1", transB=1)], "softmax_1")
    folded = fold_and_compare(network.model({"gpu_0/data_0": [1, 4, 8, 8]}, ["softmax_1"], overridable=True))
    conv = ["Conv", "Relu", "Conv", "Conv", "Sum", "Relu", "AveragePool", "Reshape", "Gemm", "Softmax"]
    assert operators(folded) == conv
    assert not folded.kept
