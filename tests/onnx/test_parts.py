"""Constants that are joined to activations, and slices that share no place of a tensor."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_stays, operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_names_hold, conv

IMAGE = (2, 3, 6, 4)
OPSETS = [7, 9, 10, 17]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_that_is_joined_takes_its_part(kind, position, opset):
    network = Network(opset=opset)
    parts = [conv(network, "x", "c", 3, 4), conv(network, "x", "d", 3, 2)]
    parts.insert(position, network.weight("k", 2, 3, 6, 4))
    network.node("Concat", parts, "joined", axis=1)
    affine(network, "joined", "y", kind, (2, 9, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Conv", "Concat", direction="upstream")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_in_other_types(dtype):
    network = Network()
    product = network.node("MatMul", ["x", network.weight("w", 4, 5, dtype=dtype)], "p")
    network.node("Concat", [product, network.weight("k", 3, 2, dtype=dtype)], "joined", axis=-1)
    network.batch_norm("joined", "y", 7, dtype)
    folded = fold_and_compare(network.model({"x": (3, 4)}, ["y"], dtype=dtype))
    assert operators(folded.model) == ["Gemm", "Concat"]


def joined_with(name, network):
    """x -- Conv -- Concat with a constant of this name -- BatchNorm -- y."""
    conv(network, "x", "c", 3, 4)
    network.node("Concat", ["c", name], "joined", axis=1)
    network.batch_norm("joined", "y", 6)
    return network


def test_a_constant_that_others_read_keeps_its_values():
    network = Network()
    joined_with(network.weight("k", 2, 2, 6, 4), network)
    network.node("Sigmoid", ["k"], "z")
    folded = fold_and_compare(network.model({"x": IMAGE}, ["y", "z"]))
    assert operators(folded.model) == ["Conv", "Concat", "Sigmoid"]
    assert_names_hold(folded)


def test_a_constant_that_is_an_output_keeps_its_values():
    network = joined_with("k", Network())
    network.weight("k", 2, 2, 6, 4)
    folded = fold_and_compare(network.model({"x": IMAGE}, {"y": (2, 6, 6, 4), "k": (2, 2, 6, 4)}))
    assert operators(folded.model) == ["Conv", "Concat"]


def test_a_joined_tensor_that_a_body_captures_keeps_its_values():
    network = joined_with(Network().weight("k", 2, 2, 6, 4), Network())
    network.weight("k", 2, 2, 6, 4)
    branches = [
        helper.make_graph(
            [helper.make_node(op_type, ["joined"], ["r"])], op_type, [], [helper.make_empty_tensor_value_info("r")]
        )
        for op_type in ("Neg", "Abs")
    ]
    network.constant("condition", True, "bool")
    network.node("If", ["condition"], "z", then_branch=branches[0], else_branch=branches[1])
    assert_stays(network.model({"x": IMAGE}, ["y", "z"]), Reason.CAPTURED)


@pytest.mark.parametrize("opset", [9, 17])
def test_a_filled_constant_stays_filled_or_the_node_stays(opset):
    """Zeros for the channels that a shortcut lacks: the file must not grow by an image of numbers."""
    network = Network(opset=opset)
    network.constant("shape", [2, 2, 6, 4], "int64")
    fill = numpy_helper.from_array(np.array([0.5], np.float32))
    network.node("ConstantOfShape", ["shape"], "k", value=fill)
    joined_with("k", network)
    assert_stays(network.model({"x": IMAGE}, ["y"]), Reason.PARAMETER_GROWS, "and would store 96")
    for name in ("scale", "bias", "mean", "var"):
        network.initializers[f"y.{name}"][4:] = network.initializers[f"y.{name}"][4]
    assert_moves(network.model({"x": IMAGE}, ["y"]), "ConstantOfShape", "Conv", "Concat")


def test_integers_take_no_map():
    network = Network()
    network.node("Cast", ["x"], "i", to=7)
    network.node("Concat", ["i", network.constant("k", np.ones((2, 1, 6, 4)), "int64")], "joined", axis=1)
    network.node("Cast", ["joined"], "r", to=1)
    network.batch_norm("r", "y", 4)
    assert_stays(network.model({"x": IMAGE}, ["y"]), Reason.NOT_LINEAR)


def halves(network, source, first, second, axis=1):
    """Two slices of a tensor, with bounds (start, stop)."""
    for output, bounds in (("a", first), ("b", second)):
        if network.opset < 10:
            network.node("Slice", [source], output, starts=bounds[:1], ends=bounds[1:], axes=[axis])
        else:
            limits = [network.constant(f"{output}.{i}", [n], "int64") for i, n in enumerate((*bounds, axis))]
            network.node("Slice", [source, *limits], output)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("first", "second"), [((0, 4), (4, 8)), ((5, 8), (0, 4)), ((-4, 100), (0, -4))], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_slices_that_share_no_place_are_a_split(kind, first, second, opset):
    network = Network(opset=opset)
    conv(network, "x", "c", 3, 8)
    halves(network, "c", first, second)
    affine(network, "a", "y", kind, (2, first[1] - first[0] if first[1] < 9 else 4, 6, 4))
    network.node("Sigmoid", ["b"], "z")
    assert_moves(network.model({"x": IMAGE}, ["y", "z"]), "Conv", "Slice", "Slice", "Sigmoid", direction="upstream")


def test_each_slice_has_a_batch_norm_of_its_own():
    network = Network()
    conv(network, "x", "c", 3, 8)
    halves(network, "c", (0, 4), (4, 8))
    network.batch_norm("a", "y", 4)
    network.batch_norm("b", "z", 4)
    assert_moves(network.model({"x": IMAGE}, ["y", "z"]), "Conv", "Slice", "Slice", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
def test_slices_that_meet_again(kind):
    """Both want another map of the tensor that they are cut of: it takes both, each on its own places."""
    network = Network()
    conv(network, "x", "c", 3, 8)
    halves(network, "c", (0, 4), (4, 8))
    network.node("Concat", ["b", "a"], "joined", axis=1)
    affine(network, "joined", "y", kind, (2, 8, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Slice", "Slice", "Concat", direction="upstream")


def test_a_gather_of_other_channels_sees_nothing():
    network = Network()
    conv(network, "x", "c", 3, 4)
    network.node("Gather", ["c", network.constant("even", [2, 0], "int64")], "a", axis=1)
    network.node("Gather", ["c", network.constant("odd", [1, 3], "int64")], "b", axis=1)
    network.batch_norm("a", "y", 2)
    network.node("Sigmoid", ["b"], "z")
    assert_moves(network.model({"x": IMAGE}, ["y", "z"]), "Conv", "Gather", "Gather", "Sigmoid")


@pytest.mark.parametrize(("first", "second"), [((0, 4), (3, 8)), ((0, 8), (0, 8)), ((0, 4), (0, 4))], ids=str)
def test_slices_that_share_a_place_are_none(first, second):
    network = Network()
    conv(network, "x", "c", 3, 8)
    halves(network, "c", first, second)
    network.batch_norm("a", "y", first[1] - first[0])
    network.node("Sigmoid", ["b"], "z")
    assert_stays(
        network.model({"x": IMAGE}, ["y", "z"]), Reason.OTHER_CONSUMERS, "'c' is also read by 'b_node' (Slice)"
    )


def test_whole_tensors_see_every_place():
    network = Network()
    conv(network, "x", "c", 3, 8)
    halves(network, "c", (0, 4), (4, 8))
    network.batch_norm("a", "y", 4)
    network.node("Sigmoid", ["b"], "z")
    network.node("Transpose", ["c"], "t")
    model = network.model({"x": IMAGE}, ["y", "z", "t"])
    assert_stays(model, Reason.OTHER_CONSUMERS, "'c' is also read by 't_node' (Transpose)")


def test_slices_of_places_are_no_channels():
    network = Network()
    conv(network, "x", "c", 3, 8)
    halves(network, "c", (0, 3), (3, 6), axis=2)
    network.batch_norm("a", "y", 8)
    network.node("Sigmoid", ["b"], "z")
    folded = fold(network.model({"x": IMAGE}, ["y", "z"]))
    assert folded.reasons == [Reason.OTHER_CONSUMERS]
