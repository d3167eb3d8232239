"""Weights one by one: no number may be off by more than rounding, wherever it stands."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.verifier.local.crop import Crop
from bnfold.verifier.local.probes import Impulses, Probes
from tests.networks import Network
from tests.verifier.spoiling import spoiled


def linear() -> onnx.ModelProto:
    """One row of more features than there are places for impulses."""
    net = Network(seed=1)
    net.batch_norm("x", "n", 300, "float16")
    net.node("Gemm", ["n", net.weight("w", 300, 8, dtype="float16")], "y")
    return net.model({"x": [1, 300]}, ["y"], dtype="float16")


def flattened() -> onnx.ModelProto:
    """A Flatten between the BatchNorm and the Gemm."""
    net = Network(seed=2)
    net.batch_norm("x", "n", 6, "float16")
    net.node("Flatten", ["n"], "f")
    net.node("Gemm", ["f", net.weight("w", 6 * 25, 4, dtype="float16")], "y")
    return net.model({"x": [2, 6, 5, 5]}, ["y"], dtype="float16")


def turned() -> onnx.ModelProto:
    """A Transpose between the BatchNorm and the MatMul."""
    net = Network(seed=3)
    net.batch_norm("x", "n", 6, "float16")
    net.node("Transpose", ["n"], "t", perm=[0, 2, 1])
    net.node("MatMul", ["t", net.weight("w", 6, 5, dtype="float16")], "y")
    return net.model({"x": [2, 6, 4]}, ["y"], dtype="float16")


def narrow() -> onnx.ModelProto:
    """A 3x3 Conv of many channels on few pixels, with a Relu behind."""
    net = Network(seed=4)
    net.node("Conv", ["x", net.weight("w", 6, 90, 3, 3, dtype="float16")], "c", pads=[1] * 4)
    net.batch_norm("c", "n", 6, "float16")
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 90, 3, 3]}, ["y"], dtype="float16")


def strided() -> onnx.ModelProto:
    """Steps of 2 on one axis and 3 on the other, holes in the kernel, and groups."""
    net = Network(seed=7)
    inputs = ["x", net.weight("w", 6, 4, 3, 2, dtype="float16")]
    net.node("Conv", inputs, "c", strides=[2, 3], dilations=[1, 2], pads=[1, 0, 0, 2], group=2)
    net.batch_norm("c", "y", 6, "float16")
    return net.model({"x": [1, 8, 17, 20]}, ["y"], dtype="float16")


def patches() -> onnx.ModelProto:
    """A kernel as large as its steps, and an input as large as one kernel on one axis."""
    net = Network(seed=8)
    net.node("Conv", ["x", net.weight("w", 5, 3, 4, 4, dtype="float16")], "c", strides=[4, 4])
    net.batch_norm("c", "y", 5, "float16")
    return net.model({"x": [1, 3, 4, 16]}, ["y"], dtype="float16")


def enlarged() -> onnx.ModelProto:
    """A ConvTranspose whose padding cuts off the border."""
    net = Network(seed=9)
    net.node("ConvTranspose", ["x", net.weight("w", 7, 4, 4, 4, dtype="float16")], "c", strides=[2, 2], pads=[1] * 4)
    net.batch_norm("c", "y", 4, "float16")
    return net.model({"x": [2, 7, 6, 3]}, ["y"], dtype="float16")


def fixed() -> onnx.ModelProto:
    """A Reshape that fixes the batch: the part runs on sources of one length only."""
    net = Network(seed=5)
    net.batch_norm("x", "n", 40, "float16")
    net.initializers["shape"] = np.asarray([1, 40, 4], np.int64)
    net.node("Reshape", ["n", "shape"], "s")
    net.node("Transpose", ["s"], "t", perm=[0, 2, 1])
    net.node("MatMul", ["t", net.weight("w", 40, 5, dtype="float16")], "y")
    return net.model({"x": [1, 40, 2, 2]}, ["y"], dtype="float16")


def summed() -> onnx.ModelProto:
    """Two Convs of one tensor, added: what comes out are sums of two weights, of which each may be half a unit off."""
    net = Network(seed=6)
    net.node("Conv", ["x", net.weight("w", 6, 20, 3, 3, dtype="float16")], "c", pads=[1] * 4)
    small = net.constant("v", net.random.normal(size=(6, 20, 1, 1)) / 16, "float16")
    net.node("Conv", ["x", small, net.weight("b", 6, dtype="float16")], "d")
    net.batch_norm(net.node("Add", ["c", "d"], "s"), "y", 6, "float16")
    return net.model({"x": [1, 20, 5, 5]}, ["y"], dtype="float16")


NETWORKS = (linear, flattened, turned, narrow, strided, patches, enlarged, fixed, summed)


def one_number_off(folded: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The folded weight with one number moved to the next but one: one step may be what rounding the other way does."""

    def change(values):
        eligible = np.flatnonzero(np.abs(values.astype(np.float64)) > 1e-3 * np.abs(values).max())  # not of scale 0
        place = np.unravel_index(np.random.default_rng(seed).choice(eligible), values.shape)
        for _ in range(2):
            values[place] = np.nextafter(values[place], np.float16(np.inf))

    return spoiled(folded, largest_tensor, change)


def largest_tensor(model: onnx.ModelProto) -> onnx.TensorProto:
    return max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_one_number_that_is_off_by_two_units_is_found(make):
    original = make()
    result = bnfold.fold(original, verify=None)
    assert result.report.batch_norms.kept == 0
    verdict = bnfold.verify(original, result.model)
    assert verdict.passed, verdict.problem
    for seed in range(3):
        verdict = bnfold.verify(original, one_number_off(result.model, seed))
        assert "has a number that was not rounded once" in verdict.problem


def test_a_weight_is_read_beside_a_large_shift():
    # Zeros become shifts of 300 channels behind the first BatchNorm: what an impulse adds to their sum is little.
    net = Network(seed=0)
    net.batch_norm("x", "m", 300, "float16")
    inputs = ["m", net.constant("w", net.random.normal(size=(300, 500)) / 170, "float16")]
    net.batch_norm(net.node("Gemm", inputs, "g"), "n", 500, "float16")
    net.node("Sigmoid", ["n"], "y")
    original = net.model({"x": [1, 300]}, ["y"], dtype="float16")
    result = bnfold.fold(original, verify=None)
    assert result.report.batch_norms.kept == 0
    verdict = bnfold.verify(original, result.model)
    assert verdict.passed, verdict.problem
    assert "has a number" in bnfold.verify(original, one_number_off(result.model, 0)).problem


def reshaped() -> onnx.ModelProto:
    """Tokens that a Reshape puts in rows."""
    net = Network(seed=10)
    net.node("MatMul", ["x", net.weight("w", 60, 5)], "m")
    net.initializers["rows"] = np.asarray([6, 5], np.int64)
    net.batch_norm(net.node("Reshape", ["m", "rows"], "r"), "y", 5)
    return net.model({"x": [1, 6, 60]}, ["y"])


def flattened_as_said() -> onnx.ModelProto:
    """A Reshape that does what Flatten does, for the one sample that the file knows."""
    net = Network(seed=11)
    net.batch_norm("x", "n", 8)
    net.initializers["row"] = np.asarray([1, 8 * 20], np.int64)
    net.node("Reshape", ["n", "row"], "f")
    net.node("Gemm", ["f", net.weight("w", 8 * 20, 4)], "y")
    return net.model({"x": [1, 8, 4, 5]}, ["y"])


def pooled() -> onnx.ModelProto:
    """A mean over all places."""
    net = Network(seed=12)
    net.batch_norm("x", "n", 40)
    net.node("ReduceMean", ["n"], "p", axes=[2], keepdims=0)
    net.node("MatMul", ["p", net.weight("w", 40, 6)], "y")
    return net.model({"x": [1, 40, 7]}, ["y"])


def many_channels() -> onnx.ModelProto:
    """A kernel of 500 numbers for each output, with steps, and groups."""
    net = Network(seed=13)
    net.batch_norm("x", "n", 100)
    net.node("Conv", ["n", net.weight("w", 4, 50, 3, 3)], "y", strides=[2, 2], group=2)
    return net.model({"x": [1, 100, 9, 9]}, ["y"])


def by_equation() -> onnx.ModelProto:
    """An Einsum."""
    net = Network(seed=14)
    net.node("Einsum", ["x", net.weight("w", 6, 80)], "m", equation="blc,oc->bol")
    net.batch_norm("m", "y", 6)
    return net.model({"x": [1, 5, 80]}, ["y"])


def from_the_left() -> onnx.ModelProto:
    """A weight in front of what it is multiplied with."""
    net = Network(seed=15)
    net.node("MatMul", [net.weight("w", 6, 80), "x"], "m")
    net.node("Transpose", ["m"], "t", perm=[1, 0])
    net.batch_norm("t", "y", 6)
    return net.model({"x": [80, 3]}, ["y"])


def gated() -> onnx.ModelProto:
    """What an LSTM makes of its input."""
    net = Network(seed=16)
    net.batch_norm("x", "n", 60)
    net.node("Transpose", ["n"], "t", perm=[2, 0, 1])
    net.node("LSTM", ["t", net.weight("w", 1, 16, 60), net.weight("r", 1, 16, 4)], "y", hidden_size=4)
    return net.model({"x": [1, 60, 5]}, ["y"])


def looked_up() -> onnx.ModelProto:
    """A table with more rows than any sample names."""
    net = Network(seed=17)
    net.node("Gather", [net.weight("w", 200, 6), "x"], "e")
    net.node("Transpose", ["e"], "t", perm=[0, 2, 1])
    net.batch_norm("t", "y", 6)
    model = net.model({"x": [1, 4]}, ["y"])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


PRECISE = (reshaped, flattened_as_said, pooled, many_channels, by_equation, from_the_left, gated, looked_up)


@pytest.mark.parametrize("make", PRECISE, ids=lambda make: make.__name__)
def test_one_small_number_of_float32_that_is_off_by_a_ten_thousandth_is_found(make):
    """One that is smaller than most: less than all of them together are rounded by."""
    original = make()
    result = bnfold.fold(original, verify=None)
    assert result.report.batch_norms.kept == 0
    verdict = bnfold.verify(original, result.model)
    assert verdict.passed, verdict.problem
    for seed in range(4):

        def change(values, seed=seed):
            sizes = np.abs(values).reshape(-1)
            small = np.flatnonzero((sizes > 0.002 * sizes.max()) & (sizes < 0.05 * sizes.max()))
            values.reshape(-1)[np.random.default_rng(seed).choice(small)] *= 1.0001

        wrong = spoiled(result.model, largest_tensor, change)
        assert bnfold.verify(original, wrong).status == "failed"


def test_every_number_of_a_wide_convolution_is_tried():
    """With strides, a channel takes four impulses, each for some of the taps; random values show none this small."""
    net = Network(seed=18)
    net.node("Conv", ["x", net.weight("w", 6, 256, 3, 3)], "c", strides=[2, 2], pads=[1] * 4)
    net.batch_norm("c", "y", 6)
    original = net.model({"x": [1, 256, 8, 8]}, ["y"])
    folded = bnfold.fold(original, verify=None).model
    for tap in np.ndindex(3, 3):

        def change(values, tap=tap):
            share = np.abs(values[1]) / np.abs(values[1]).max()
            small = (share > 0.005) & (share < 0.01)
            channel = np.flatnonzero(small[(slice(None), *tap)])[0]
            values[(1, channel, *tap)] *= 1.0001

        assert bnfold.verify(original, spoiled(folded, largest_tensor, change)).status == "failed"


@pytest.mark.parametrize("crop", [Crop(), Crop(any_samples=True)], ids=["whole", "any samples"])
@pytest.mark.parametrize("shape", [(1, 40, 90, 90), (1, 300, 9000), (1, 9000)], ids=str)
def test_of_large_parts_some_places_are_tried_and_others_with_another_seed(shape, crop):
    def tried(seed: int) -> set[tuple[int, ...]]:
        wanted = Impulses(narrow=False)
        probes = [probe.values["x"] for probe in Probes(seed).impulses({"x": np.zeros(shape)}, crop, wanted)]
        assert sum(values.size for values in probes) <= 2**22 + 2 * np.prod(shape)
        return {tuple(place[1:]) for values in probes for place in np.argwhere(values)}

    assert tried(0)
    assert tried(0) != tried(1)
