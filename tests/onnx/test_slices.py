"""Slices of one tensor that show different places of it, as a roll of the channels is written."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays

END = 2**31 - 1


def convolved(network):
    return network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")


def cut(network, source, output, start, stop, axis=1):
    bounds = [
        network.constant(f"{output}.{name}", [value], "int64")
        for name, value in (("start", start), ("stop", stop), ("axis", axis))
    ]
    return network.node("Slice", [source, *bounds], output)


def model_of(network, *outputs):
    return network.model({"x": (2, 3, 5, 5)}, outputs)


@pytest.mark.parametrize("by", [1, 2, 3, -1])
def test_a_roll_of_the_channels_is_an_order_of_them(by):
    network = Network()
    convolved(network)
    parts = [cut(network, "c", "last", -by, END), cut(network, "c", "first", 0, -by)]
    network.batch_norm(network.node("Concat", parts, "rolled", axis=1), "normal", 4)
    network.node("Softsign", ["normal"], "y")
    assert_folds_to(model_of(network, "y"), "Conv", "Slice", "Slice", "Concat", "Softsign")


def test_one_channel_takes_its_map_and_the_others_keep_their_values():
    network = Network()
    convolved(network)
    network.batch_norm(cut(network, "c", "one", 2, 3), "normal", 1)
    network.node("Softsign", ["normal"], "y")
    network.node("Softsign", [cut(network, "c", "others", 0, 2)], "z")
    network.node("Softsign", [cut(network, "c", "last", 3, END)], "u")
    folded = fold_and_compare(model_of(network, "y", "z", "u"))
    assert folded.batch_norms_left == 0


def test_two_slices_that_share_a_channel_want_the_same_of_it_or_nothing_folds():
    network = Network()
    convolved(network)
    network.batch_norm(cut(network, "c", "one", 1, 3), "a", 2)
    network.batch_norm(cut(network, "c", "other", 2, 4), "b", 2)
    network.node("Softsign", ["a"], "y")
    network.node("Softsign", ["b"], "z")
    assert_stays(model_of(network, "y", "z"), Reason.OTHER_CONSUMERS, "'c' is also read by")


def test_rows_of_an_image_have_no_parameters_of_their_own():
    """The reason is the other reader, and not the axis of a map that was only tried."""
    network = Network()
    convolved(network)
    network.batch_norm(cut(network, "c", "top", 0, 1, axis=2), "a", 4)
    network.node("Softsign", ["a"], "y")
    network.node("Softsign", [cut(network, "c", "rest", 1, END, axis=2)], "z")
    assert_stays(model_of(network, "y", "z"), Reason.OTHER_CONSUMERS, "'c' is also read by 'rest")


def test_a_reader_of_the_whole_tensor_keeps_it():
    network = Network()
    convolved(network)
    network.batch_norm(cut(network, "c", "one", 2, 3), "normal", 1)
    network.node("Softsign", ["normal"], "y")
    network.node("Softsign", ["c"], "z")
    assert_stays(model_of(network, "y", "z"), Reason.OTHER_CONSUMERS)


def test_slices_of_channels_and_rows_in_one_node():
    network = Network()
    convolved(network)
    bounds = [
        network.constant(name, values, "int64") for name, values in (("from", [2, 1]), ("to", [3, 4]), ("a", [1, 2]))
    ]
    network.node("Slice", ["c", *bounds], "one")
    network.node("Mul", ["one", network.constant("k", np.full((1, 1, 1), 3.0))], "m")
    network.node("Softsign", ["m"], "y")
    network.node("Softsign", [cut(network, "c", "other", 0, 2)], "z")
    folded = fold_and_compare(model_of(network, "y", "z"))
    assert [fold.op for fold in folded.folds] == []
    assert folded.kept[0].refusals[0].reason is Reason.OTHER_CONSUMERS


def test_a_slice_of_a_slice():
    """Three readers in all, each with places of its own."""
    network = Network()
    convolved(network)
    cut(network, "c", "first", 0, 3)
    network.batch_norm(cut(network, "first", "one", 1, 2), "normal", 1)
    network.node("Softsign", ["normal"], "y")
    network.node("Softsign", [cut(network, "first", "other", 0, 1)], "z")
    network.node("Softsign", [cut(network, "c", "last", 3, END)], "u")
    assert fold_and_compare(model_of(network, "y", "z", "u")).batch_norms_left == 0


def test_a_slice_that_is_an_output_keeps_its_values():
    network = Network()
    convolved(network)
    network.batch_norm(cut(network, "c", "one", 0, 1), "y", 1)
    cut(network, "c", "z", 1, END)
    folded = fold_and_compare(model_of(network, "y", "z"))
    assert folded.batch_norms_left == 0
