"""Places of an axis: Tile, Compress, GatherElements, ReverseSequence; and what changes no place, CastLike and Mean."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators


def convolved(network, output="c", channels=4):
    return network.node("Conv", ["x", network.weight(f"{output}.w", channels, 3, 1, 1)], output)


def ended(network, source, channels):
    """A BatchNorm that can only go upstream."""
    network.batch_norm(source, "n", channels)
    network.node("Softsign", ["n"], "y")


def model_of(network, **more):
    return network.model({"x": (2, 3, 5, 5), **more}, {"y": ["n", "c", "h", "w"]})


@pytest.mark.parametrize("repeats", [[1, 1, 2, 3], [2, 1, 1, 1], [1, 1, 1, 1]], ids=str)
def test_a_tile_along_other_axes_than_the_channels(repeats):
    network = Network()
    network.node("Tile", [convolved(network), network.constant("r", repeats, "int64")], "t")
    ended(network, "t", 4)
    assert_folds_to(model_of(network), "Conv", "Tile", "Softsign")


def test_a_tile_of_channels_takes_what_is_alike_in_each():
    network = Network()
    network.node("Tile", [convolved(network), network.constant("r", [1, 2, 1, 1], "int64")], "t")
    ended(network, "t", 8)
    assert fold(model_of(network)).reasons == [Reason.WRONG_AXIS]
    for values in network.initializers.values():
        if values.shape == (8,):
            values[4:] = values[:4]
    assert_folds_to(model_of(network), "Conv", "Tile", "Softsign")


@pytest.mark.parametrize("kept", [[1, 0, 1, 1], [0, 1], [1, 1, 1, 1]], ids=str)
def test_channels_that_are_kept(kept):
    network = Network()
    network.node("Compress", [convolved(network), network.constant("k", kept, "bool")], "t", axis=1)
    ended(network, "t", sum(kept))
    assert_folds_to(model_of(network), "Conv", "Compress", "Softsign")


def test_channels_that_are_kept_at_run_time_and_no_axis_at_all():
    network = Network()
    network.node("Greater", ["gate", network.constant("zero", 0.0)], "k")
    network.node("Compress", [convolved(network), "k"], "t", axis=1)
    network.node("Mul", ["t", network.constant("two", 2.0)], "m")
    network.node("Softsign", ["m"], "y")
    assert "Mul" not in operators(fold_and_compare(model_of(network, gate=(4,))).model)
    network = Network()
    network.node("Compress", [convolved(network), network.constant("k", [1] * 200, "bool")], "t")
    network.node("Mul", ["t", network.constant("two", 2.0)], "m")
    network.node("Softsign", ["m"], "y")
    model = network.model({"x": (2, 3, 5, 5)}, {"y": ["n"]})
    assert fold(model).kept[0].refusals[0].reason is Reason.WRONG_AXIS


@pytest.mark.parametrize(
    ("index", "left"),
    [
        (np.array([2, -4, 3, 1]).reshape(1, 4, 1, 1), 0),
        (np.array([2, 2]).reshape(1, 2, 1, 1), 1),
        (np.arange(2 * 4 * 25).reshape(2, 4, 5, 5) % 3, 1),
    ],
    ids=["permutation", "twice", "any"],
)
def test_places_for_every_number(index, left):
    network = Network(opset=13)
    places = np.broadcast_to(index, (2, index.shape[1], 5, 5))
    network.node("GatherElements", [convolved(network), network.constant("i", places, "int64")], "t", axis=1)
    ended(network, "t", index.shape[1])
    assert fold_and_compare(model_of(network)).batch_norms_left == left


def test_places_for_every_number_of_a_part_of_the_tensor():
    """Along an axis that is cut, no map may vary."""
    network = Network(opset=13)
    index = network.constant("i", np.zeros((2, 3, 1, 5)), "int64")
    network.node("GatherElements", [convolved(network), index], "t", axis=2)
    ended(network, "t", 3)
    assert_stays(model_of(network), Reason.WRONG_AXIS)


@pytest.mark.parametrize(("lengths", "left"), [([4, 4], 0), ([3, 3], 0), ([1, 1], 0), ([4, 3], 1)], ids=str)
def test_channels_turned_around_are_an_order_of_them(lengths, left):
    network = Network()
    turned = network.constant("l", lengths, "int64")
    network.node("ReverseSequence", [convolved(network), turned], "t", time_axis=1, batch_axis=0)
    ended(network, "t", 4)
    assert fold_and_compare(model_of(network)).batch_norms_left == left


def test_a_cast_to_the_type_that_it_has():
    network = Network()
    network.node("CastLike", [convolved(network), network.constant("like", [1.0])], "t")
    ended(network, "t", 4)
    assert_folds_to(model_of(network), "Conv", "CastLike", "Softsign")


def test_a_cast_to_the_type_of_another_tensor_that_drops_digits_stays():
    network = Network()
    network.node("CastLike", [convolved(network), network.constant("like", [1.0], "float16")], "h")
    network.node("CastLike", ["h", "x"], "t")
    ended(network, "t", 4)
    assert_stays(model_of(network), Reason.NOT_LINEAR)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_tensor_of_a_mean_takes_the_scale_and_one_the_shift(count):
    network = Network()
    network.node("Mean", [convolved(network, f"c{number}") for number in range(count)], "t")
    ended(network, "t", 4)
    assert_folds_to(model_of(network), *["Conv"] * count, "Mean", "Softsign")


def test_a_mean_of_one_tensor_takes_its_map():
    network = Network()
    network.node("Mean", [convolved(network)] * 3, "t")
    ended(network, "t", 4)
    assert_folds_to(model_of(network), "Conv", "Mean", "Softsign")


def test_a_shift_in_front_of_a_mean_counts_for_its_part():
    network = Network()
    network.node("Add", ["x", network.weight("t", 3, 1, 1)], "a")
    network.node("Mean", ["a", "x", "x"], "m")
    network.node("Conv", ["m", network.weight("w", 2, 3, 1, 1)], "y")
    assert_folds_to(model_of(network), "Mean", "Conv")


def gathered_at(index, *, batch_dims=0, opset=17, affine="BatchNormalization", rank=4):
    """Conv, GatherND at these places, and a BatchNorm or an Add behind it."""
    network = Network(opset=opset)
    given = {"batch_dims": batch_dims} if batch_dims else {}
    network.node("GatherND", [convolved(network), network.constant("i", index, "int64")], "o", **given)
    if affine == "Add":
        network.node("Add", ["o", network.constant("t", 0.5)], "y")
    else:
        channels = 4 if np.shape(index)[-1] == 1 and not batch_dims else np.shape(index)[1]
        network.batch_norm("o", "y", channels)
    return network.model({"x": (2, 3, 5, 5)}, {"y": [f"d{axis}" for axis in range(rank)]})


CHANNELS_2_AND_1 = [[[0, 2], [0, 1]], [[1, 2], [1, -3]]]


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize(
    ("index", "batch_dims"),
    [([[1], [0], [1]], 0), ([[[3], [0], [-3]]] * 2, 1), (CHANNELS_2_AND_1, 0)],
    ids=["samples", "channels", "both"],
)
def test_a_gather_of_several_axes(opset, index, batch_dims):
    assert_folds_to(gathered_at(index, batch_dims=batch_dims, opset=opset), "Conv", "GatherND")


def test_a_gather_of_several_axes_without_batch_dims():
    assert_folds_to(gathered_at(CHANNELS_2_AND_1, opset=11), "Conv", "GatherND")


@pytest.mark.parametrize("index", [[[[3], [0], [3]]] * 2, [[[0, 0], [1, 3], [0, 2]]]], ids=["twice", "one sample"])
def test_a_map_that_is_not_one_for_each_channel_stays(index):
    assert (
        fold(gathered_at(index, batch_dims=3 - np.ndim(index) if np.shape(index)[-1] > 1 else 1)).batch_norms_left == 1
    )


def test_places_of_all_axes_at_once_take_what_is_alike():
    assert_folds_to(gathered_at([[0, 1, 2, 3], [1, 3, 0, 0]], affine="Add", rank=1), "Conv", "GatherND")


def test_places_that_differ_from_sample_to_sample():
    model = gathered_at([[[3], [0]], [[1], [0]]], batch_dims=1)
    assert_stays(model, Reason.UNKNOWN_OPERATOR, "differ from sample to sample")


def test_places_of_the_run_time_pass_what_is_alike_along_them():
    network = Network()
    network.node("Cast", ["i"], "places", to=TensorProto.INT64)
    network.node("GatherND", [convolved(network), "places"], "o")
    ended(network, "o", 4)
    model = network.model({"x": (2, 3, 5, 5)}, {"y": ["n", 4, 5, 5]}, check=False)
    model.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT32, (3, 1)))
    assert fold(model).batch_norms_left == 0
