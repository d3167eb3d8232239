"""Streams made by somebody who wants a wrong answer: odd numbers, odd readers, streams that meet and constraints."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bnfold
from tests.folding import count, fold_and_compare
from tests.networks import Network
from tests.onnx.test_across import CHANNELS, SHAPE, conv, tame_batch_norm


def block(network, source, name, **batch_norm):
    """source + conv(relu(bn(source)))."""
    ramp = network.node("Relu", [tame_batch_norm(network, source, f"{name}.n", **batch_norm)], f"{name}.r")
    return network.node("Add", [source, conv(network, ramp, f"{name}.c")], f"{name}.s")


def kept(model: onnx.ModelProto, *, relative: float | None = None) -> int:
    """BatchNorms that stay, of a model that computes the same, and of which the check says so."""
    folded = fold_and_compare(model, relative=relative)
    result = bnfold.fold(model)
    assert result.report.verification.passed
    assert count(result.model, "BatchNormalization") == count(folded.model, "BatchNormalization")
    return count(folded.model, "BatchNormalization")


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ({0: 1e-40}, 1),  # a denormal number of float32: the zero is far away
        ({0: -1e-40}, 1),
        ({0: 1e-6, 1: 1e6}, 1),
        ({0: 0.0, 1: -0.0}, 0),
        (dict.fromkeys(range(CHANNELS), 0.0), 0),
        (dict.fromkeys(range(CHANNELS), -1.0), 0),
        ({2: 1e20}, 0),
    ],
    ids=str,
)
def test_scales_at_the_ends_of_their_type(scale, expected):
    network = Network()
    low = dict.fromkeys(range(CHANNELS), -0.1)
    stream = block(network, conv(network, "x", "stem"), "a", scale=scale, bias=low, mean={2: 0.0})
    conv(network, stream, "y", kernel=1)
    assert kept(network.model({"x": SHAPE}, ["y"])) == expected


@pytest.mark.parametrize("key", ["scale", "bias", "mean", "var"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_norm_that_holds_no_number_is_left_alone(key, value):
    network = Network()
    stream = block(network, conv(network, "x", "stem"), "a", **{key: {3: value}})
    conv(network, block(network, stream, "b"), "y", kernel=1)
    model = network.model({"x": SHAPE}, ["y"])
    result = bnfold.fold(model, verify=False)
    assert "a.n_node" in {node.name for node in result.model.graph.node}


READERS = {
    "Resize": ({}, ["", "scales"], {"mode": "nearest"}),
    "Pad": ({}, ["pads"], {}),
    "Transpose": ({}, [], {"perm": [0, 2, 3, 1]}),
    "Concat": ({}, ["more"], {"axis": 1}),
    "QuantizeLinear": ({}, ["step", "zero"], {}),
    "ReduceMean": ({}, [], {"axes": [1], "keepdims": 1}),
    "Softmax": ({}, [], {"axis": 1}),
    "MaxPool": ({}, [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
    "AveragePool": ({}, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("op_type", READERS)
@pytest.mark.parametrize("scale", [{}, {0: 0.0, 1: -0.8}])
def test_whoever_reads_the_stream_sees_what_it_saw(op_type, scale):
    """What the reader makes is an output, so that nothing behind it could take an inverse."""
    network = Network()
    network.constant("scales", [1.0, 1.0, 2.0, 2.0])
    network.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], "int64")
    network.weight("more", 2, 1, 8, 8)
    network.constant("step", 0.05)
    network.constant("zero", 0, "int8")
    stream = conv(network, "x", "stem")
    conv(network, block(network, stream, "a", scale=scale), "y", kernel=1)
    _, names, attributes = READERS[op_type]
    read = network.node(op_type, [stream, *names], "read", **attributes)
    if op_type == "QuantizeLinear":
        read = network.node("DequantizeLinear", [read, "step", "zero"], "again")
    network.initializers = {name: v for name, v in network.initializers.items() if name in _names_read(network)}
    kept(network.model({"x": SHAPE}, ["y", read]))


def _names_read(network):
    return {name for node in network.nodes for name in node.input}


@pytest.mark.parametrize("op_type", ["Resize", "Pad", "Transpose", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("scale", [{}, {0: 0.0, 1: -0.8}])
def test_what_lies_behind_a_reader_may_take_the_inverse(op_type, scale):
    network = Network()
    network.constant("scales", [1.0, 1.0, 2.0, 2.0])
    network.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], "int64")
    stream = conv(network, "x", "stem")
    conv(network, block(network, stream, "a", scale=scale), "y", kernel=1)
    _, names, attributes = READERS[op_type]
    read = network.node(op_type, [stream, *names], "read", **attributes)
    if op_type == "Transpose":
        read = network.node("Transpose", [read], "back", perm=[0, 3, 1, 2])
    conv(network, read, "z", kernel=1)
    network.initializers = {name: v for name, v in network.initializers.items() if name in _names_read(network)}
    kept(network.model({"x": SHAPE}, ["y", "z"]))


@pytest.mark.parametrize("scale", [{}, {0: 0.0}, {1: -0.8}])
@pytest.mark.parametrize("captured", ["stem", "a.n", "a.r", "a.c", "a.s"])
def test_a_body_reads_a_tensor_of_the_stream(captured, scale):
    network = Network()
    conv(network, block(network, conv(network, "x", "stem"), "a", scale=scale), "y", kernel=1)
    body = [
        helper.make_graph(
            [helper.make_node(op_type, [captured], [f"{op_type}.out"])],
            op_type,
            [],
            [helper.make_tensor_value_info(f"{op_type}.out", TensorProto.FLOAT, None)],
        )
        for op_type in ("Neg", "Exp")
    ]
    network.constant("yes", True, "bool")
    network.node("If", ["yes"], "z", then_branch=body[0], else_branch=body[1])
    kept(network.model({"x": SHAPE}, ["y", "z"]))


@pytest.mark.parametrize("scale", [{}, {0: 0.0}, {1: -0.8}])
def test_a_loop_carries_the_stream(scale):
    """The body's own stream may fold; what goes in and out of it may not change."""
    network = Network()
    stream = block(network, conv(network, "x", "stem"), "a", scale=scale)
    inner = Network(seed=7)
    inner.node("Identity", ["go"], "go_on")
    block(inner, conv(inner, "state", "i.stem"), "i", scale=scale)
    inputs = [
        helper.make_tensor_value_info("step", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, SHAPE),
    ]
    outputs = [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("i.s", TensorProto.FLOAT, SHAPE),
    ]
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in inner.initializers.items()]
    body = helper.make_graph(inner.nodes, "body", inputs, outputs, tensors)
    network.constant("trips", 2, "int64")
    looped = network.node("Loop", ["trips", "", stream], "looped", body=body)
    network.node("Tanh", [conv(network, looped, "last", kernel=1)], "y")
    kept(network.model({"x": SHAPE}, {"y": SHAPE}), relative=1e-3)


@pytest.mark.parametrize("scale", [{}, {0: 0.0}, {1: -0.8}])
@pytest.mark.parametrize("how", ["Add", "Mul", "Concat", "twice"])
def test_two_streams_meet(how, scale):
    network = Network()
    one = block(network, conv(network, "x", "stem1"), "a", scale=scale)
    other = block(network, conv(network, "x", "stem2"), "b")
    if how == "Concat":
        met, width = network.node("Concat", [one, other], "met", axis=1), 2 * CHANNELS
    elif how == "twice":
        met, width = network.node("Add", [one, one], "met"), CHANNELS
    else:
        met, width = network.node(how, [one, other], "met"), CHANNELS
    last = network.node("Relu", [tame_batch_norm(network, met, "n", width)], "r")
    conv(network, last, "y", kernel=1, inputs=width)
    conv(network, other, "z", kernel=1)
    kept(network.model({"x": SHAPE}, ["y", "z"]))


@pytest.mark.parametrize("channel", [None, 0, CHANNELS - 1])
def test_constraints_that_disagree_in_one_channel(channel):
    """Two norms of one tensor with the same zero and sign fold both; one channel that differs keeps one of them."""
    network = Network()
    stream = conv(network, "x", "stem")
    same = {"scale": np.full(CHANNELS, 0.5), "bias": np.full(CHANNELS, 0.25), "mean": np.zeros(CHANNELS)}
    same["var"] = np.ones(CHANNELS)
    ends = []
    for name in ("a", "b"):
        changes = {key: dict(enumerate(values)) for key, values in same.items()} | {
            "var": dict.fromkeys(range(CHANNELS), 1)
        }
        if name == "b" and channel is not None:
            changes["bias"][channel] = -0.25
        tame_batch_norm(network, stream, f"{name}.n", **changes)
        ends.append(conv(network, network.node("Relu", [f"{name}.n"], f"{name}.r"), f"{name}.c"))
    network.node("Add", ends, "t")
    network.node("Add", ["t", stream], "s")
    conv(network, "s", "y", kernel=1)
    assert kept(network.model({"x": SHAPE}, ["y"])) == (0 if channel is None else 1)


@pytest.mark.parametrize("size", [1.0, 3e3, 2e4])
@pytest.mark.parametrize("scale", [{}, {0: 0.0}, {1: -0.8}, {2: 1e-3}])
def test_half_precision_near_its_ends(size, scale):
    """Whatever folds stays finite where the original is, and near it."""
    network = Network()
    stem = network.constant("w", np.eye(CHANNELS).reshape(CHANNELS, CHANNELS, 1, 1) * size, "float16")
    stream = network.node("Conv", ["x", stem], "stem")
    levels = {"mean": dict.fromkeys(range(CHANNELS), size * 0.1), "var": dict.fromkeys(range(CHANNELS), 6e4)}
    normed = tame_batch_norm(network, stream, "n", dtype="float16", scale=scale, **levels)
    branch = conv(network, network.node("Relu", [normed], "r"), "c", dtype="float16", kernel=1)
    conv(network, network.node("Add", [stream, branch], "s"), "t", dtype="float16", kernel=1)
    network.node("Tanh", ["t"], "y")
    model = network.model({"x": SHAPE}, ["y"], dtype="float16")
    assert bnfold.fold(model).report.verification.status in ("passed", "partial")
