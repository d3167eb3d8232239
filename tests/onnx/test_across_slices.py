"""Streams whose blocks make one tensor that Slices take apart: these answer together, as a Split does."""

import pytest

from tests.folding import count, fold_and_compare
from tests.networks import Network
from tests.onnx.test_across import CHANNELS, SHAPE, conv, tame_batch_norm

GROWTH = 3
BOTH = CHANNELS + GROWTH


def cut(network, source, output, start, stop):
    places = [network.constant(f"{output}.{name}", [value], "int64") for name, value in (("from", start), ("to", stop))]
    return network.node("Slice", [source, *places, network.constant(f"{output}.axis", [1], "int64")], output)


def _whole(network, source, output):
    bounds = [network.constant(f"{output}.{key}", [value], "int64") for key, value in (("from", 0), ("to", 2**31 - 1))]
    return network.node("Slice", [source, *bounds, network.constant(f"{output}.axis", [0], "int64")], output)


def apart(network, source, name, way):
    """The channels of the residual stream, and those that the dense stream grows by."""
    if way == "Split":
        sizes = network.constant(f"{name}.sizes", [CHANNELS, GROWTH], "int64")
        network.node("Split", [source, sizes], [f"{name}.r", f"{name}.d"], axis=1)
    elif way == "Slice":
        cut(network, source, f"{name}.r", 0, CHANNELS)
        cut(network, source, f"{name}.d", CHANNELS, BOTH)
    elif way == "behind a slice of all":  # as TorchScript writes x[:, :3], for each part anew
        cut(network, _whole(network, source, f"{name}.all"), f"{name}.r", 0, CHANNELS)
        cut(network, _whole(network, source, f"{name}.again"), f"{name}.d", CHANNELS, BOTH)
    elif way == "overlapping":
        cut(network, source, f"{name}.r", 0, CHANNELS)
        cut(network, source, f"{name}.d", CHANNELS - 1, BOTH - 1)
    else:  # a Gather whose places are not in their order
        places = network.constant(f"{name}.places", [BOTH - 1, BOTH - 3, BOTH - 2], "int64")
        cut(network, source, f"{name}.r", 0, CHANNELS)
        network.node("Gather", [source, places], f"{name}.d", axis=1)
    return f"{name}.r", f"{name}.d"


def dual_path(blocks, way, *, outputs=("y",), **batch_norm):
    """A residual and a dense stream side by side: Chen et al. 2017, https://arxiv.org/abs/1707.01629."""
    network = Network()
    residual, dense = apart(network, conv(network, "x", "stem", outputs=BOTH), "b", way)
    for block in range(blocks):
        joined = network.node("Concat", [residual, dense], f"j{block}", axis=1)
        channels = BOTH + block * GROWTH
        normed = tame_batch_norm(network, joined, f"n{block}", channels, **batch_norm)
        ramp = network.node("Relu", [normed], f"r{block}")
        made = conv(network, ramp, f"c{block}", inputs=channels, outputs=BOTH)
        more, new = apart(network, made, f"b{block}", way)
        residual = network.node("Add", [residual, more], f"s{block}")
        dense = network.node("Concat", [dense, new], f"d{block}", axis=1)
    channels = BOTH + blocks * GROWTH
    last = tame_batch_norm(network, network.node("Concat", [residual, dense], "end", axis=1), "last", channels)
    conv(network, network.node("Relu", [last], "e"), "y", inputs=channels, kernel=1)
    return network.model({"x": SHAPE}, outputs)


@pytest.mark.parametrize("way", ["Split", "Slice", "Gather", "behind a slice of all"])
def test_a_stream_turns_on_both_of_its_paths(way):
    """A negative scale on each path, of a place that one of the two shows."""
    folded = fold_and_compare(dual_path(1, way, scale={1: -1.5, CHANNELS + 1: -0.7}))
    assert count(folded.model, "BatchNormalization") == 1


@pytest.mark.parametrize("way", ["Split", "Slice", "Gather", "overlapping", "behind a slice of all"])
@pytest.mark.parametrize("scale", [{}, {0: 0.0}, {1: -1.0}, {CHANNELS: 0.0, CHANNELS + 1: -1.0}])
def test_whatever_folds_computes_the_same(way, scale):
    for outputs in (("y",), ("y", "b.d"), ("y", "c1")):
        fold_and_compare(dual_path(2, way, outputs=outputs, scale=scale))
