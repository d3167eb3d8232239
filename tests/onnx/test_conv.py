"""Conv behind every spelling of its attributes."""

import pytest

from bnfold.refusal import Reason
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, initializer_shapes

CHANNELS, OUTPUTS, SIZE = 4, 8, 7
SPATIAL = {
    "plain": lambda _rank: {},
    "kernel_shape": lambda rank: {"kernel_shape": [3] * rank},
    "strides": lambda rank: {"strides": [2] * rank},
    "dilations": lambda rank: {"dilations": [2] * rank},
    "pads": lambda rank: {"pads": [*range(rank), *range(1, rank + 1)]},
    "all three": lambda rank: {"strides": [2] * rank, "dilations": [1, 2, 1][:rank], "pads": [1] * (2 * rank)},
    "SAME_UPPER": lambda rank: {"auto_pad": "SAME_UPPER", "strides": [2] * rank},
    "SAME_LOWER": lambda rank: {"auto_pad": "SAME_LOWER", "strides": [2] * rank},
    "VALID": lambda _rank: {"auto_pad": "VALID"},
    "NOTSET": lambda rank: {"auto_pad": "NOTSET", "pads": [1] * (2 * rank)},
}
BIASES = ("absent", "empty", "constant")


def conv_network(rank, groups, bias, **attributes):
    network = Network(seed=rank)
    inputs = ["x", network.weight("weight", OUTPUTS, CHANNELS // groups, *[3] * rank)]
    inputs += {"absent": [], "empty": [""], "constant": [network.weight("bias", OUTPUTS)]}[bias]
    if bias != "constant":
        del network.initializers["bias"]
    network.batch_norm(network.node("Conv", inputs, "c", group=groups, **attributes), "y", OUTPUTS)
    return network.model({"x": (2, CHANNELS, *[SIZE] * rank)}, ["y"])


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, CHANNELS], ids=["dense", "grouped", "depthwise"])
@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("bias", BIASES)
def test_grid(rank, groups, spatial, bias):
    model = conv_network(rank, groups, bias, **SPATIAL[spatial](rank))
    folded = assert_folds_to(model, "Conv")
    assert initializer_shapes(folded.model) == {
        "weight": (OUTPUTS, CHANNELS // groups, *[3] * rank),
        "bias": (OUTPUTS,),
    }
    (conv,), (before, _) = folded.model.graph.node, model.graph.node
    assert list(conv.input) == ["x", "weight", "bias"]
    assert list(conv.output) == ["y"]
    assert conv.name == before.name
    assert conv.attribute == before.attribute


def test_a_name_that_is_taken_is_not_taken_again():
    network = Network()
    network.node("Conv", ["x", network.weight("weight", 4, 3, 3, 3)], "c")
    network.batch_norm("c", "d", 4)
    network.node("Mul", ["d", network.node("Relu", ["z"], "bias")], "y")
    folded = assert_folds_to(network.model({"x": (1, 3, 5, 5), "z": (1, 4, 3, 3)}, ["y"]), "Conv", "Relu", "Mul")
    assert list(folded.model.graph.node[0].input) == ["x", "weight", "bias_2"]


@pytest.mark.parametrize("slot", [1, 2], ids=["weight", "bias"])
def test_what_is_computed_at_run_time_does_not_fold(slot):
    network = Network()
    parameters = {1: network.weight("weight", 4, 3, 3, 3), 2: network.weight("bias", 4)}
    parameters[slot] = network.node("Relu", ["given"], "computed")
    network.node("Conv", ["x", *parameters.values()], "c")
    network.batch_norm("c", "y", 4)
    reason = {1: Reason.DYNAMIC_WEIGHT, 2: Reason.DYNAMIC_BIAS}[slot]
    expected = "'computed' is computed by 'computed_node' (Relu)"
    given = {1: (4, 3, 3, 3), 2: (4,)}[slot]
    assert_stays(network.model({"x": (1, 3, 5, 5), "given": given}, ["y"]), reason, expected)


def test_a_weight_from_the_caller_does_not_fold():
    network = Network()
    network.node("Conv", ["x", "weight"], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": (1, 3, 5, 5), "weight": (4, 3, 3, 3)}, ["y"])
    assert_stays(model, Reason.DYNAMIC_WEIGHT, "'weight' is an input of graph")


@pytest.mark.parametrize(("slot", "parameter"), [(1, "weight"), (2, "bias")])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite(slot, parameter, bad):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", 4, 3, 3, 3), network.weight("bias", 4)], "c")
    network.initializers[parameter].flat[slot] = bad
    network.batch_norm("c", "y", 4)
    assert_stays(network.model({"x": (1, 3, 5, 5)}, ["y"]), Reason.NOT_FINITE, "NaN or infinity")


@pytest.mark.parametrize(
    ("weight", "bias", "groups", "evidence"),
    [
        ((4, 3, 3, 3), (3,), 1, "the bias has shape (3,), expected (4,)"),
        ((4, 3, 3, 3), (1, 4), 1, "the bias has shape (1, 4), expected (4,)"),
        ((4, 1, 3, 3), (4,), 3, "Conv has a weight of shape (4, 1, 3, 3) and group 3"),
        ((4, 1, 3, 3), (4,), 0, "Conv has a weight of shape (4, 1, 3, 3) and group 0"),
        ((6, 3, 3, 3), (6,), 1, "the input has 6 channels, the parameters 4"),
    ],
)
def test_malformed(weight, bias, groups, evidence):
    network = Network()
    network.node("Conv", ["x", network.weight("w", *weight), network.weight("b", *bias)], "c", group=groups)
    network.batch_norm("c", "y", 4)
    assert_stays(network.model({"x": (1, 3, 5, 5)}, {"y": (1, 4, 3, 3)}, check=False), Reason.MALFORMED, evidence)
