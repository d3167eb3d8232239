"""Where, with tensors and constants to choose from, and a mask that is fixed or not."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators
from tests.onnx.test_across import tame_batch_norm

X = (2, 3, 6, 6)
MASKS = {"places": (6, 6), "channels": (4, 1, 1), "samples": (2, 1, 1, 1), "all": (2, 4, 6, 6)}


def convolved(network, output="c"):
    names = [network.weight(f"{output}.w", 4, 3, 1, 1), network.weight(f"{output}.b", 4)]
    return network.node("Conv", ["x", *names], output)


def masked(network, shape=(6, 6)):
    return network.constant("mask", np.random.default_rng(1).random(shape) < 0.5, "bool")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("held", [(), (1,), (4, 1, 1), (1, 4, 1, 1)], ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_a_batch_norm_behind_a_constant_and_a_tensor(mask, held, first):
    network = Network()
    convolved(network)
    parts = ["c", network.weight("k", *held)]
    network.node("Where", [masked(network, MASKS[mask]), *(parts if first else parts[::-1])], "o")
    network.batch_norm("o", "y", 4)
    assert_folds_to(network.model({"x": X}, ["y"]), "Conv", "Where")


def test_a_batch_norm_behind_two_tensors():
    network = Network()
    network.node("Where", [masked(network), convolved(network), convolved(network, "d")], "o")
    network.batch_norm("o", "y", 4)
    assert_folds_to(network.model({"x": X}, ["y"]), "Conv", "Conv", "Where")


def test_a_mask_of_the_run_time():
    network = Network()
    convolved(network)
    network.node("Greater", ["c", network.constant("zero", 0.0)], "mask")
    network.node("Neg", ["x"], "z")
    network.node("Conv", ["z", network.weight("v", 4, 3, 1, 1)], "d")
    network.node("Less", ["d", "zero"], "below")
    network.node("Conv", ["x", network.weight("u", 4, 3, 1, 1)], "e")
    network.node("Where", ["below", "e", network.constant("k", 0.5)], "o")
    network.batch_norm("o", "y", 4)
    assert fold_and_compare(network.model({"x": X}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize("fixed", [True, False])
def test_a_batch_norm_in_front_goes_on_to_the_convolution_behind(fixed):
    """Without padding; the constant takes the inverse, so no scale may be 0."""
    network = Network()
    network.batch_norm("x", "n", 3)
    network.initializers["n.scale"][:] = [0.5, -1.5, 2.0]
    mask = masked(network) if fixed else "mask"
    if not fixed:
        network.node("Greater", ["x", network.constant("limit", 0.1)], "mask")
    network.node("Where", [mask, "n", network.constant("k", 0.5)], "o")
    network.node("Conv", ["o", network.weight("w", 4, 3, 3, 3)], "y")
    assert fold_and_compare(network.model({"x": X}, ["y"])).batch_norms_left == 0


def test_a_channel_that_is_made_zero_stays_in_front_of_a_mask_of_the_run_time():
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node("Greater", ["x", network.constant("limit", 0.1)], "mask")
    network.node("Where", ["mask", "n", network.constant("k", 0.5)], "o")
    network.node("Conv", ["o", network.weight("w", 4, 3, 3, 3)], "y")
    (kept,) = fold(network.model({"x": X}, ["y"])).kept
    assert Reason.ZERO_SCALE in [refusal.reason for refusal in kept.refusals]


def test_one_of_two_tensors_with_a_map_of_its_own():
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node("Sigmoid", ["x"], "s")
    network.node("Greater", ["x", network.constant("limit", 0.1)], "mask")
    network.node("Where", ["mask", "n", "s"], "o")
    network.node("Conv", ["o", network.weight("w", 4, 3, 3, 3)], "y")
    (kept,) = fold(network.model({"x": X}, ["y"])).kept
    assert Reason.OTHER_BRANCH in [refusal.reason for refusal in kept.refusals]


def test_minus_infinity_among_the_numbers_to_choose_from():
    network = Network()
    convolved(network)
    network.node(
        "Where", [masked(network), "c", network.constant("k", np.array([0, -np.inf, 1, 2]).reshape(4, 1, 1))], "o"
    )
    network.batch_norm("o", "y", 4)
    assert_stays(network.model({"x": X}, ["y"]), Reason.NOT_FINITE, "a constant that is chosen")


def test_a_constant_that_the_graph_fills_with_one_number_is_not_written_out():
    network = Network()
    convolved(network)
    network.initializers["shape"] = np.array([2, 4, 6, 6])
    network.node("ConstantOfShape", ["shape"], "k")
    network.node("Where", [masked(network), "c", "k"], "o")
    network.batch_norm("o", "y", 4)
    assert_stays(network.model({"x": X}, ["y"]), Reason.PARAMETER_GROWS)


def test_half_precision_and_a_constant_that_others_read():
    network, dtype = Network(), "float16"
    names = [network.weight("w", 4, 3, 1, 1, dtype=dtype), network.constant("k", 0.25, dtype)]
    network.node("Conv", ["x", names[0]], "c")
    network.node("Where", [masked(network), "c", names[1]], "o")
    network.batch_norm("o", "n", 4, dtype=dtype)
    network.node("Add", ["x", "k"], "z")
    network.node("Neg", ["n"], "y")
    folded = fold_and_compare(network.model({"x": X}, ["y", "z"], dtype=dtype))
    assert sorted(operators(folded.model)) == ["Add", "Conv", "Neg", "Where"]


def positive(network, source, output, channels=4, dtype="float32"):
    """A BatchNorm without negative scales."""
    network.batch_norm(source, output, channels, dtype)
    network.initializers[f"{output}.scale"] = np.abs(network.initializers[f"{output}.scale"])


@pytest.mark.parametrize("opset", [8, 12, 17])
@pytest.mark.parametrize("op_type", ["Max", "Min"])
@pytest.mark.parametrize("held", [None, (), (4, 1, 1)], ids=str)
def test_a_batch_norm_behind_the_largest_of_two(held, op_type, opset):
    """Maxout, or a Relu that is spelled out."""
    network = Network(opset=opset)
    parts = [convolved(network), convolved(network, "d") if held is None else network.weight("k", *held)]
    network.node(op_type, parts, "o")
    positive(network, "o", "y")
    assert_folds_to(network.model({"x": X}, ["y"]), *["Conv"] * (2 if held is None else 1), op_type)


def test_halves_of_one_convolution_of_which_the_larger_is_taken():
    """Max feature map of LightCNN; https://arxiv.org/abs/1511.02683."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 8, 3, 3, 3), network.weight("b", 8)], "c")
    network.initializers["halves"] = np.array([4, 4])
    network.node("Split", ["c", "halves"], ["l", "r"], axis=1)
    network.node("Max", ["l", "r"], "m")
    positive(network, "m", "n")
    network.node("Sigmoid", ["n"], "y")
    assert_folds_to(network.model({"x": X}, ["y"]), "Conv", "Split", "Max", "Sigmoid")


def test_a_batch_norm_in_front_of_the_largest_goes_behind_it():
    network = Network()
    positive(network, "x", "n", 3)
    network.initializers["n.scale"][:] = [0.5, 1.5, 2.0]
    network.node("Max", ["n", network.constant("k", 0.5)], "o")
    network.node("Conv", ["o", network.weight("w", 4, 3, 3, 3)], "y")
    assert_folds_to(network.model({"x": X}, ["y"]), "Max", "Conv")


def test_a_negative_scale_stays_behind_the_largest():
    network = Network()
    network.node("Max", [convolved(network), network.constant("k", 0.5)], "o")
    network.batch_norm("o", "y", 4)
    network.initializers["y.scale"][:] = [1.0, -1.0, 1.0, 1.0]
    assert_stays(network.model({"x": X}, ["y"]), Reason.NEEDS_NON_NEGATIVE_SCALE)


def test_a_norm_folds_across_a_stream_that_ends_in_the_larger_of_two():
    network = Network()
    convolved(network)
    tame_batch_norm(network, "c", "n", 4)
    network.node("Relu", ["n"], "r")
    network.node("Conv", ["r", network.weight("v", 4, 4, 1, 1), network.weight("vb", 4)], "d")
    network.node("Max", ["c", "d"], "m")
    network.node("Conv", ["m", network.weight("u", 2, 4, 1, 1), network.weight("ub", 2)], "y")
    folded = fold_and_compare(network.model({"x": X}, ["y"]))
    assert folded.batch_norms_left == 0
    assert [entry.direction for entry in folded.folds] == ["across"]


@pytest.mark.parametrize("op_type", ["Max", "Where"])
def test_one_tensor_that_is_chosen_from_twice(op_type):
    network = Network()
    mask = [masked(network)] if op_type == "Where" else []
    network.node(op_type, [*mask, convolved(network), "c"], "o")
    positive(network, "o", "n")
    network.node("Sigmoid", ["n"], "y")
    assert_folds_to(network.model({"x": X}, ["y"]), "Conv", op_type, "Sigmoid")


def test_two_choices_share_a_constant_that_is_an_output_too():
    network = Network()
    convolved(network), convolved(network, "d"), masked(network), network.constant("k", 0.4)
    network.node("Where", ["mask", "c", "k"], "m"), network.node("Max", ["k", "d"], "o")
    network.batch_norm("m", "a", 4), positive(network, "o", "b")
    network.node("Add", ["a", "b"], "s"), network.node("Sigmoid", ["s"], "y"), network.node("Identity", ["k"], "z")
    assert fold_and_compare(network.model({"x": X}, ["y", "z"])).batch_norms_left == 0


def test_a_constant_that_is_longer_than_the_tensor_keeps_its_length():
    """The result is as long as the constant."""
    network = Network()
    network.node("GlobalAveragePool", [convolved(network)], "g")
    network.node("Max", ["g", network.constant("k", np.full((4, 5, 5), 0.3))], "o")
    positive(network, "o", "y")
    assert_folds_to(network.model({"x": X}, ["y"]), "Conv", "GlobalAveragePool", "Max")


def test_a_tensor_that_is_repeated_along_the_channels_takes_no_map_of_them():
    network = Network(opset=13)
    network.node("ReduceMean", [convolved(network)], "g", axes=[1])
    network.node("Max", ["c", "g"], "o")
    positive(network, "o", "y")
    assert_stays(network.model({"x": X}, ["y"]), Reason.WRONG_AXIS, "on which a branch is repeated")


def test_a_condition_that_reads_the_tensor_keeps_it():
    network = Network()
    network.node("Greater", [convolved(network), network.constant("z", 0.0)], "mask")
    network.node("Where", ["mask", "c", network.constant("k", 0.1)], "o")
    network.batch_norm("o", "y", 4)
    assert_stays(network.model({"x": X}, ["y"]), Reason.OTHER_CONSUMERS)
