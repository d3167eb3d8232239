"""What a report says of the places of BatchNorms, which is asked of the model as it was."""

import numpy as np
import onnx
import pytest

from bnfold import explain
from bnfold.label import Label
from tests.networks import Network


def places(model):
    outcome = explain(model).outcome
    return {entry.node: entry.surroundings for entry in (*outcome.folds, *outcome.kept)}


def test_neighbours_are_those_of_the_model_as_it_was():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "b1", 4)
    network.batch_norm("b1", "b2", 4)
    network.node("Relu", ["b2"], "y")
    first, second = places(network.model({"x": [2, 3, 5, 5]}, ["y"])).values()

    assert (first.before.op, [label.op for label in first.behind]) == ("Conv", ["BatchNormalization"])
    assert (second.before.op, [label.op for label in second.behind]) == ("BatchNormalization", ["Relu"])


def test_the_first_readers_are_named_and_all_are_counted():
    network = Network()
    network.node("Relu", ["x"], "r")
    network.batch_norm("r", "b", 3)
    for number in range(5):
        network.node("Sigmoid", ["b"], f"y{number}")
    (place,) = places(network.model({"x": [2, 3, 5, 5]}, [f"y{number}" for number in range(5)])).values()

    assert len(place.behind) == 3
    assert place.readers == 5


def test_one_that_reads_twice_is_one_reader_and_an_input_is_made_by_nothing():
    network = Network()
    network.batch_norm("x", "b", 3)
    network.node("Mul", ["b", "b"], "y")
    (place,) = places(network.model({"x": [2, 3, 5, 5]}, ["y"])).values()

    assert (place.before, place.readers) == ("", 1)


def test_scales_are_those_of_the_map():
    network = Network()
    network.node("Relu", ["x"], "r")
    network.batch_norm("r", "y", 3)
    model = network.model({"x": [2, 3, 5, 5]}, ["y"])
    stored = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    (node,) = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    scale, variance = (stored[node.input[index]].astype(np.float64) for index in (1, 4))
    epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
    expected = np.sort(np.abs(scale / np.sqrt(variance + epsilon)))
    (place,) = places(model).values()

    assert place.scales.channels == 3
    assert place.scales.largest == pytest.approx(expected[-1], rel=1e-6)
    assert place.scales.negative == np.count_nonzero(scale < 0)


def test_a_batch_norm_in_training_mode_has_a_place_and_no_scales():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": [2, 3, 5, 5]}, ["y"])
    (node,) = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    node.attribute.append(onnx.helper.make_attribute("training_mode", 1))
    (place,) = places(model).values()

    assert (place.before.op, place.scales) == ("Conv", None)
    assert isinstance(place.before, Label)


def test_a_refusal_names_the_readers_that_forbid_it():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "b", 4)
    network.node("Relu", ["b"], "y")
    network.node("Sigmoid", ["c"], "z")
    outcome = explain(network.model({"x": [2, 3, 5, 5]}, ["y", "z"]), across=False).outcome
    (kept,) = outcome.kept
    upstream = next(refusal for refusal in kept.refusals if refusal.reason.code == "BNF201")

    assert [label.op for label in upstream.readers] == ["Sigmoid"]
