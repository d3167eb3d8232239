"""ScatterND and ScatterElements at constant indices: places of one tensor that are another's."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network

X = (2, 3, 4, 5)


def convolved(network, output, channels=4):
    return network.node("Conv", ["x", network.weight(f"{output}.w", channels, 3, 1, 1)], output)


def ended(network, source="s"):
    network.batch_norm(source, "n", 4)
    network.node("Softsign", ["n"], "y")
    return network.model({"x": X}, {"y": ["n", "c", "h", "w"]})


def grid(*lists):
    return np.stack(np.meshgrid(*lists, indexing="ij"), axis=-1)


CHANNELS = pytest.mark.parametrize("places", [[1, 3], [2], [-1, 0, 1], [3, 2, 1, 0]], ids=str)


@CHANNELS
def test_elements_of_some_channels(places):
    network = Network(opset=18)
    index = np.broadcast_to(np.array(places).reshape(1, -1, 1, 1), (2, len(places), 4, 5))
    inputs = [convolved(network, "c"), network.constant("i", index, "int64"), convolved(network, "d", len(places))]
    network.node("ScatterElements", inputs, "s", axis=1)
    assert fold_and_compare(ended(network)).batch_norms_left == 0


@CHANNELS
@pytest.mark.parametrize("opset", [11, 18])
def test_a_grid_of_some_channels(places, opset):
    network = Network(opset=opset)
    index = network.constant("i", grid([0, 1], places), "int64")
    inputs = [convolved(network, "c"), index, convolved(network, "d", len(places))]
    network.node("ScatterND", inputs, "s")
    assert fold_and_compare(ended(network)).batch_norms_left == 0


def test_samples_of_a_batch():
    network = Network()
    updates = network.node("Slice", [convolved(network, "d"), *bounds(network)], "u")
    network.node("ScatterND", [convolved(network, "c"), network.constant("i", [[1]], "int64"), updates], "s")
    assert fold_and_compare(ended(network)).batch_norms_left == 0


def bounds(network):
    return [network.constant(name, value, "int64") for name, value in (("from", [0]), ("to", [1]), ("axes", [0]))]


@pytest.mark.parametrize("constant", ["data", "updates"])
def test_a_constant_takes_the_map_itself(constant):
    network = Network()
    index = network.constant("i", grid([0, 1], [0, 2]), "int64")
    data = network.weight("zeros", 2, 4, 4, 5) if constant == "data" else convolved(network, "c")
    updates = network.weight("set", 2, 2, 4, 5) if constant == "updates" else convolved(network, "d", 2)
    network.node("ScatterND", [data, index, updates], "s")
    assert fold_and_compare(ended(network)).batch_norms_left == 0


def test_maps_in_front_of_both_become_one_behind():
    network = Network()
    for name, channels in (("x", 4), ("u", 2)):
        network.node("Mul", [name, network.weight(f"{name}.k", channels, 1, 1)], f"{name}.m")
    network.node("ScatterND", ["x.m", network.constant("i", grid([0, 1], [0, 2]), "int64"), "u.m"], "s")
    network.node("Conv", ["s", network.weight("w", 3, 4, 1, 1)], "y")
    model = network.model({"x": (2, 4, 4, 5), "u": (2, 2, 4, 5)}, {"y": ["n", "c", "h", "w"]})
    folded = fold_and_compare(model)
    assert "ScatterND" in [node.op_type for node in folded.model.graph.node]
    assert len(folded.folds) == 2


STAYS = {
    "added": ({"reduction": "add"}, grid([0, 1], [0, 2])),
    "twice": ({}, grid([0, 1], [2, 2])),
    "two axes": ({}, grid([1, 0], [0, 2])),
    "no grid": ({}, np.array([[[0, 1], [0, 2]], [[1, 0], [1, 3]]])),
}


@pytest.mark.parametrize(("attributes", "index"), STAYS.values(), ids=STAYS)
def test_what_is_no_part_of_an_axis_stays(attributes, index):
    network = Network(opset=18)
    inputs = [convolved(network, "c"), network.constant("i", index, "int64"), convolved(network, "d", 2)]
    network.node("ScatterND", inputs, "s", **attributes)
    assert fold(ended(network)).reasons == [Reason.UNKNOWN_OPERATOR]


def test_indices_that_are_computed_stay():
    network = Network(opset=18)
    network.node("Cast", ["where"], "i", to=7)
    network.node("ScatterND", [convolved(network, "c"), "i", convolved(network, "d", 2)], "s")
    network.batch_norm("s", "n", 4)
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": X, "where": (2, 2, 2)}, {"y": ["n", "c", "h", "w"]})
    assert fold(model).reasons == [Reason.UNKNOWN_OPERATOR]


def test_elements_at_other_places_in_each_sample_stay():
    network = Network(opset=18)
    index = np.broadcast_to(np.array([[0, 1], [2, 3]]).reshape(2, 2, 1, 1), (2, 2, 4, 5))
    inputs = [convolved(network, "c"), network.constant("i", index, "int64"), convolved(network, "d", 2)]
    network.node("ScatterElements", inputs, "s", axis=1)
    assert fold(ended(network)).reasons == [Reason.UNKNOWN_OPERATOR]
