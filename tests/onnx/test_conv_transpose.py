"""ConvTranspose: its weight holds the inputs first, and its groups interleave the output channels."""

import pytest

from bnfold.refusal import Reason
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, initializer_shapes

CHANNELS, PER_GROUP, SIZE, KERNEL = 4, 3, 4, 3
OUTPUT_SIZES = {
    "plain": lambda _rank: {},
    "pads": lambda rank: {"pads": [*[1] * rank, *[0] * rank]},
    "dilations": lambda rank: {"dilations": [2] * rank},
    "output_padding": lambda rank: {"output_padding": [1] * rank, "strides": [2] * rank},
    "output_shape": lambda rank: {"output_shape": [9] * rank, "strides": [2] * rank},
    "output_shape and SAME_UPPER": lambda rank: {
        "output_shape": [8] * rank,
        "strides": [2] * rank,
        "auto_pad": "SAME_UPPER",
    },
    "SAME_LOWER": lambda rank: {"auto_pad": "SAME_LOWER", "strides": [2] * rank},
    "strides": lambda rank: {"strides": [3] * rank},
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size", OUTPUT_SIZES)
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
def test_grid(rank, groups, size, with_bias):
    network = Network(seed=groups)
    inputs = ["x", network.weight("weight", CHANNELS, PER_GROUP, *[KERNEL] * rank)]
    inputs += [network.weight("bias", groups * PER_GROUP)] if with_bias else []
    network.node("ConvTranspose", inputs, "c", group=groups, **OUTPUT_SIZES[size](rank))
    network.batch_norm("c", "y", groups * PER_GROUP)
    model = network.model({"x": (2, CHANNELS, *[SIZE] * rank)}, ["y"])
    folded = assert_folds_to(model, "ConvTranspose")
    assert initializer_shapes(folded.model) == {
        "weight": (CHANNELS, PER_GROUP, *[KERNEL] * rank),
        "bias": (groups * PER_GROUP,),
    }
    assert folded.model.graph.node[0].attribute == model.graph.node[0].attribute


def test_as_many_inputs_as_outputs():
    """A square weight does not show by its shape which side is which."""
    network = Network()
    network.node("ConvTranspose", ["x", network.weight("w", 4, 4, 2, 2)], "c")
    network.batch_norm("c", "y", 4)
    assert_folds_to(network.model({"x": (1, 4, 3, 3)}, ["y"]), "ConvTranspose")


def test_depthwise():
    network = Network()
    network.node("ConvTranspose", ["x", network.weight("w", 6, 1, 3, 3)], "c", group=6)
    network.batch_norm("c", "y", 6)
    assert_folds_to(network.model({"x": (1, 6, 3, 3)}, ["y"]), "ConvTranspose")


def test_malformed_groups():
    network = Network()
    network.node("ConvTranspose", ["x", network.weight("w", 4, 2, 3, 3)], "c", group=3)
    network.batch_norm("c", "y", 6)
    model = network.model({"x": (1, 4, 3, 3)}, {"y": (1, 6, 5, 5)}, check=False)
    assert_stays(model, Reason.MALFORMED, "ConvTranspose has a weight of shape (4, 2, 3, 3) and group 3")
