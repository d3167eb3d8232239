"""A Conv whose weight is computed at run time: its bias takes a shift, and what makes the weight may take a scale."""

import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators

X = (2, 4, 5, 5)


def modulated(network, *, bias=False, group=1, dtype="float32"):
    """As a style does: a constant weight, times a number for each input channel."""
    network.node("Mul", [network.weight("w", 6, 4 // group, 1, 1, dtype=dtype), "style"], "m")
    given = [network.weight("b", 6, dtype=dtype)] if bias else []
    return network.node("Conv", ["x", "m", *given], "c", group=group)


def model_of(network, style=(1, 4, 1, 1), **options):
    return network.model({"x": X, "style": style}, {"y": ["n", "c", "h", "w"]}, **options)


def ended(network, source="c", channels=6):
    network.batch_norm(source, "n", channels)
    network.node("Softsign", ["n"], "y")


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_a_batch_norm_goes_into_the_weight_that_is_modulated_and_the_bias(bias, group):
    network = Network()
    modulated(network, bias=bias, group=group)
    ended(network)
    assert_folds_to(model_of(network, (1, 4 // group, 1, 1)), "Mul", "Conv", "Softsign")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("operator", ["Add", "Sub"])
def test_a_shift_needs_the_bias_alone(operator, bias):
    network = Network()
    given = [network.weight("b", 6)] if bias else []
    network.node("Conv", ["x", "kernel", *given], "c", pads=[1, 1, 1, 1])
    network.node(operator, ["c", network.weight("t", 6, 1, 1)], "n")
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": X, "kernel": (6, 4, 3, 3)}, {"y": ["n", "c", "h", "w"]})
    assert_folds_to(model, "Conv", "Softsign")


def test_a_scale_of_a_weight_from_outside_has_no_place():
    network = Network()
    network.node("Conv", ["x", "kernel"], "c")
    ended(network)
    model = network.model({"x": X, "kernel": (6, 4, 3, 3)}, {"y": ["n", "c", "h", "w"]})
    assert_stays(model, Reason.DYNAMIC_WEIGHT, "'kernel' is an input of graph")


def test_a_bias_from_outside_takes_nothing():
    network = Network()
    network.node("Mul", [network.weight("w", 6, 4, 1, 1), "style"], "m")
    network.node("Conv", ["x", "m", "b"], "c")
    ended(network)
    model = network.model({"x": X, "style": (1, 4, 1, 1), "b": (6,)}, {"y": ["n", "c", "h", "w"]})
    assert_stays(model, Reason.DYNAMIC_BIAS)


def test_a_weight_that_two_convolutions_share_keeps_its_values():
    network = Network()
    modulated(network)
    network.node("Conv", ["x", "m"], "d")
    ended(network)
    network.node("Softsign", ["d"], "z")
    model = network.model({"x": X, "style": (1, 4, 1, 1)}, {name: ["n", "c", "h", "w"] for name in "yz"})
    assert_stays(model, Reason.OTHER_CONSUMERS)


def test_nothing_goes_in_from_the_front():
    network = Network()
    network.batch_norm("x", "n", 4)
    network.node("Conv", ["n", "kernel"], "y")
    model = network.model({"x": X, "kernel": (6, 4, 3, 3)}, {"y": ["n", "c", "h", "w"]})
    assert [reason.reason for reason in fold(model).kept[0].refusals] == [Reason.GRAPH_INPUT, Reason.DYNAMIC_WEIGHT]


def test_a_map_of_places_has_no_bias():
    network = Network()
    modulated(network)
    network.node("Add", ["c", network.weight("t", 5)], "n")
    network.node("Softsign", ["n"], "y")
    folded = fold(model_of(network))
    assert folded.folds == ()
    assert folded.kept[0].refusals[0].reason is Reason.WRONG_AXIS


@pytest.mark.parametrize("shift", [True, False])
def test_how_many_channels_there_are_must_be_known_for_a_bias(shift):
    network = Network()
    network.node("Conv", ["x", "kernel"], "c")
    network.node("Add" if shift else "Mul", ["c", network.constant("t", 2.0)], "n")
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": X, "kernel": ("m", 4, 3, 3)}, {"y": ["n", "c", "h", "w"]})
    expected = Reason.UNKNOWN_SHAPE if shift else Reason.DYNAMIC_WEIGHT
    assert fold(model).kept[0].refusals[0].reason is expected


def test_in_float16():
    network = Network()
    modulated(network, dtype="float16")
    network.node(
        "Mul", ["c", network.constant("k", [[[1.5]], [[-2.0]], [[0.0]], [[0.5]], [[3.0]], [[1.0]]], "float16")], "s"
    )
    network.node("Add", ["s", network.weight("t", 6, 1, 1, dtype="float16")], "n")
    network.node("Softsign", ["n"], "y")
    folded = fold_and_compare(model_of(network, dtype="float16"))
    assert operators(folded.model) == ["Mul", "Conv", "Softsign"]
    assert all(tensor.data_type == 10 for tensor in folded.model.graph.initializer)


def test_integers_beside_a_weight_of_the_run_time_take_no_shift():
    """Runtimes multiply the scales of input and weight to get that of the bias, and the weight is not known."""
    network = Network()
    network.node("DequantizeLinear", ["kernel", network.constant("ks", 0.1)], "w")
    network.node(
        "DequantizeLinear", [network.constant("b", [1, 2, 3, 4, 5, 6], "int32"), network.constant("bs", 0.01)], "bias"
    )
    network.node("Conv", ["x", "w", "bias"], "c")
    network.node("Add", ["c", network.weight("t", 6, 1, 1)], "n")
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": X}, {"y": ["n", "c", "h", "w"]}, check=False)
    model.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.INT8, (6, 4, 1, 1)))
    folded = fold(model)
    assert folded.folds == ()
    assert folded.kept[0].refusals[0].reason is Reason.QUANTIZED


def test_a_weight_behind_a_reshape_of_what_is_modulated():
    network = Network()
    network.node("Mul", [network.weight("w", 6, 4), "style"], "m")
    network.node("Reshape", ["m", network.constant("s", [6, 4, 1, 1], "int64")], "k")
    network.node("Conv", ["x", "k"], "c")
    ended(network)
    assert_folds_to(model_of(network, (1, 4)), "Mul", "Reshape", "Conv", "Softsign")


def test_a_tensor_that_is_weighed_with_itself_keeps_its_values():
    network = Network()
    network.node("Mul", ["x", network.weight("k", 3, 1, 1)], "w")
    network.node("Conv", ["w", "w"], "c")
    ended(network, channels=3)
    model = network.model({"x": (3, 3, 1, 1)}, {"y": ["n", "c", "h", "w"]})
    assert Reason.OTHER_CONSUMERS in fold_and_compare(model).reasons
