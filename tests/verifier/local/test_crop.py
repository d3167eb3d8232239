"""Parts run on a corner of an image: how large it is, and that nothing wrong escapes it."""

import numpy as np
import pytest

import bnfold
from bnfold.verifier.local.crop import corners
from bnfold.verifier.models.changed import find_sites
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from tests.networks import Network
from tests.verifier.small_models import HALF, model_proto, node
from tests.verifier.spoiling import of_shape, spoiled


def convolution(size, kernel, *, op="Conv", **attributes):
    """A convolution and its BatchNorm on an image of any number of axes."""
    net = Network(seed=5)
    shape = (6, 4, *kernel) if op == "Conv" else (4, 6, *kernel)
    net.node(op, ["x", net.weight("w", *shape)], "c", **attributes)
    net.batch_norm("c", "n", 6)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, *size]}, ["y"])


def corner_of(original, new=None):
    new = new or bnfold.fold(original, verify=None).model
    ours, theirs = Structure(Model("the original", original)), Structure(Model("the new model", new))
    sizes = {entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim] for entry in original.graph.input}
    seen = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
    return {name: values.shape for name, values in corners(seen, find_sites(ours, theirs), ours, theirs).items()}


@pytest.mark.parametrize(
    ("size", "kernel", "attributes", "corner"),
    [
        ([112, 112], [1, 1], {}, [8, 8]),
        ([112, 112], [3, 3], {"pads": [1] * 4}, [10, 10]),
        ([112, 7], [3, 3], {"pads": [1] * 4}, [10, 7]),
        ([224, 224], [7, 7], {"strides": [2, 2], "pads": [3] * 4}, [21, 21]),
        ([224, 224], [16, 16], {"strides": [16, 16]}, [128, 128]),
        ([65, 65], [3, 3], {"dilations": [12, 12], "pads": [12] * 4}, [50, 50]),
        ([500], [3], {}, [66]),
        ([32, 32, 32], [3, 3, 3], {}, [6, 6, 6]),
        ([64, 64], [4, 4], {"op": "ConvTranspose", "strides": [2, 2]}, [11, 11]),
    ],
)
def test_a_corner_has_room_for_windows_and_for_enough_outputs(size, kernel, attributes, corner):
    assert corner_of(convolution(size, kernel, **attributes)) == {"x": (1, 4, *corner)}


def two_convolutions():
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w1", 4, 4, 3, 3)], "c1", strides=[2, 2])
    net.node("Conv", ["c1", net.weight("w2", 6, 4, 3, 3)], "c2", strides=[2, 2])
    net.batch_norm("c2", "y", 6)
    original = net.model({"x": [1, 4, 64, 64]}, ["y"])
    new = bnfold.fold(original, verify=None).model
    for entry in new.graph.node:  # a name that only the new model has makes one part of both
        for names in (entry.input, entry.output):
            names[:] = ["other" if name == "c1" else name for name in names]
    return original, new


def of_places(bias):
    """A Conv, and a bias for each place."""
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 4, 1, 1)], "c")
    net.node("Add", ["c", net.constant("b", bias)], "a")
    net.batch_norm("a", "y", 4)
    return net.model({"x": [1, 4, 32, 32]}, ["y"])


def pooled():
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 4, 1, 1)], "c")
    net.node("AveragePool", ["c"], "p", kernel_shape=[2, 2])
    net.batch_norm("p", "y", 4)
    return net.model({"x": [1, 4, 32, 32]}, ["y"])


@pytest.mark.parametrize(
    "models",
    [
        two_convolutions(),
        (of_places(np.ones((1, 4, 32, 32))), None),
        (of_places(np.ones((1, 32))), None),
        (pooled(), None),
        (convolution([32, 32], [3, 3], auto_pad="SAME_UPPER"), None),
        (convolution([32, 32], [4, 4], op="ConvTranspose", output_shape=[30, 30]), None),
    ],
    ids=["two convolutions", "a bias by place", "a bias by column", "pooling", "auto_pad", "output_shape"],
)
def test_what_may_not_treat_places_alike_is_run_whole(models):
    original, new = models
    assert corner_of(original, new)["x"] == tuple(
        dim.dim_value for dim in original.graph.input[0].type.tensor_type.shape.dim
    )


def test_half_precision_is_run_whole():
    """Its rounding is told from an error by many places."""
    weight, ones = np.ones((6, 4, 1, 1), np.float16), np.ones(6, np.float16)
    names = dict.fromkeys(("gamma", "beta", "mean", "var"), ones)
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c gamma beta mean var", "y")]
    ports = {"x": (HALF, [1, 4, 32, 32])}, {"y": (HALF, [1, 6, 32, 32])}
    assert corner_of(model_proto(nodes, *ports, {"w": weight, **names})) == {"x": (1, 4, 32, 32)}


def test_a_tensor_is_as_large_as_the_furthest_seeing_of_its_readers_needs():
    net = Network(seed=4)
    for number, kernel in enumerate((1, 5)):
        net.node("Conv", ["x", net.weight(f"w{number}", 4, 4, kernel, kernel)], f"c{number}")
        net.batch_norm(f"c{number}", f"y{number}", 4)
    assert corner_of(net.model({"x": [1, 4, 64, 64]}, ["y0", "y1"])) == {"x": (1, 4, 12, 12)}
    net.node("Conv", ["x", net.weight("w2", 4, 4, 1, 1)], "c2")
    net.node("AveragePool", ["c2"], "p", kernel_shape=[2, 2])
    net.batch_norm("p", "y2", 4)
    assert corner_of(net.model({"x": [1, 4, 64, 64]}, ["y0", "y1", "y2"])) == {"x": (1, 4, 64, 64)}


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("dilation", [1, 5, 20])
def test_a_fault_in_any_weight_of_a_kernel_is_seen(place, dilation):
    original = convolution([90, 90], [3, 3], dilations=[dilation] * 2, pads=[dilation] * 4)
    folded = bnfold.fold(original, verify=None).model

    def fault(weight):
        weight[(3, 1, *place)] *= 1.01

    assert bnfold.verify(original, folded).passed
    verdict = bnfold.verify(original, spoiled(folded, of_shape([6, 4, 3, 3]), fault))
    assert "channel 3 " in verdict.problem


def test_faults_at_one_place_of_an_image_are_seen_on_the_samples():
    original = of_places(np.ones((1, 4, 32, 32)))
    new = of_places(np.ones((1, 4, 32, 32)))

    def fault(bias):
        bias[0, 2, 31, 30] += 1

    wrong = spoiled(new, of_shape([1, 4, 32, 32]), fault)
    assert bnfold.verify(original, new).passed
    assert not bnfold.verify(original, wrong).passed
