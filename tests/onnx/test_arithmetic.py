"""Mul, Add, Sub and Div by a constant: which of them are affine maps over the channels."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, BroadcastScale, Masking, Opaque, Product, Sum
from tests.folding import count, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, decode_all, operators

CHANNELS = 4
OPERATORS = ("Mul", "Add", "Sub", "Div")
ORDERS = pytest.mark.parametrize("constant_first", [False, True], ids=["x, c", "c, x"])


def behind_conv(op, constant_first, shape, channels=CHANNELS, inputs=(2, 3, 6, 5), **node):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", channels, 3, 1, 1)], "c")
    operands = ["c", network.weight("constant", *shape)]
    network.node(op, operands[::-1] if constant_first else operands, "y", **node)
    return network.model({"x": inputs}, ["y"])


def why_it_stays(model):
    """Whatever stays of the model's last node: its meaning if that is opaque, else the first refusal."""
    folded = fold_and_compare(model)
    assert operators(folded.model) == operators(model)
    meaning = decode_all(model)["y"]
    if isinstance(meaning, Opaque):
        return meaning.reason, meaning.evidence
    refusal = folded.kept[-1].refusals[0]
    return refusal.reason, refusal.evidence


@pytest.mark.parametrize("op", OPERATORS)
@ORDERS
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1), (CHANNELS, 1, 1), (1, CHANNELS, 1, 1)], ids=str)
def test_behind_a_convolution(op, constant_first, shape):
    model = behind_conv(op, constant_first, shape)
    if op == "Div" and constant_first:
        assert why_it_stays(model)[0] is Reason.NOT_LINEAR
    else:
        assert_folds_to(model, "Conv")


@pytest.mark.parametrize("op", OPERATORS)
@ORDERS
@pytest.mark.parametrize("shape", [(), (1,), (CHANNELS,), (1, CHANNELS)], ids=str)
def test_behind_a_product(op, constant_first, shape):
    network = Network()
    network.node("Gemm", ["x", network.weight("weight", 3, CHANNELS)], "g")
    operands = ["g", network.weight("constant", *shape)]
    network.node(op, operands[::-1] if constant_first else operands, "y")
    model = network.model({"x": (5, 3)}, ["y"])
    if op == "Div" and constant_first:
        assert why_it_stays(model) == (Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    else:
        assert_folds_to(model, "Gemm")


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5,), "3"), ((6, 1), "2"), ((6, 5), "2, 3"), ((2, 1, 1, 1), "0"), ((2, CHANNELS, 1, 1), "0, 1")],
    ids=str,
)
def test_other_axes_are_refused(op, shape, axes):
    evidence = f"the map varies along axis {axes}, the output channels are on axis 1"
    assert why_it_stays(behind_conv(op, False, shape)) == (Reason.WRONG_AXIS, evidence)


@pytest.mark.parametrize("op", OPERATORS)
def test_as_long_as_the_channels_on_the_last_axis(op):
    """A vector meets the width, not the channels, however long it is."""
    model = behind_conv(op, False, (6,), channels=6, inputs=(1, 3, 6, 6))
    evidence = "the map varies along axis 3, the output channels are on axis 1"
    assert why_it_stays(model) == (Reason.WRONG_AXIS, evidence)


@pytest.mark.parametrize("op", OPERATORS)
def test_equal_entries_on_another_axis_are_one_number(op):
    model = behind_conv(op, False, (6, 5))
    constant = model.graph.initializer[1]
    constant.CopyFrom(helper.make_tensor("constant", TensorProto.FLOAT, (6, 5), [1.5] * 30))
    assert_folds_to(model, "Conv")


@pytest.mark.parametrize("op", OPERATORS)
@ORDERS
@pytest.mark.parametrize(
    ("shape", "inputs", "evidence"),
    [
        ((1, 1, 1, 1, 1), (2, 3, 6, 5), "a constant of rank 5 meets a tensor of rank 4"),
        ((CHANNELS, 1, 1), (2, 3, 6, 5), "the constant has 4 entries on axis 1, the activation 1"),
        ((7, 1, 1, 1), (1, 3, 6, 5), "the constant has 7 entries on axis 0, the activation 1"),
        ((1, 1, 1, 5), (1, 3, 6, 1), "the constant has 5 entries on axis 3, the activation 1"),
    ],
)
def test_constants_that_broadcast_the_activation_are_refused(op, constant_first, shape, inputs, evidence):
    model = behind_conv(op, constant_first, shape, channels=1, inputs=inputs)
    if op == "Mul":  # it takes scales, but is no map that could go
        assert isinstance(decode_all(model)["y"], BroadcastScale)
        assert fold(model).folds == ()
        return
    reason, seen = why_it_stays(model)
    if not (op == "Div" and constant_first):
        assert (reason, seen) == (Reason.BROADCASTS_ACTIVATION, evidence)


@pytest.mark.parametrize("op", OPERATORS)
def test_a_dimension_that_may_be_1_is_refused(op):
    model = behind_conv(op, False, (5,), inputs=(2, 3, "height", "width"))
    meaning = decode_all(model)["y"]
    assert isinstance(meaning, Opaque)
    assert meaning.reason is Reason.UNKNOWN_SHAPE
    assert meaning.evidence == "axis 3 of the activation may be 1, then the constant would widen it"
    assert fold(model).folds == ()


@pytest.mark.parametrize("op", OPERATORS)
def test_symbolic_dimensions_do_not_matter_on_axes_of_length_1(op):
    model = behind_conv(op, False, (CHANNELS, 1, 1), inputs=("batch", 3, "height", "width"))
    assert_folds_to(model, "Conv")


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_are_no_affine_maps(op, dtype):
    """Integer arithmetic wraps and truncates; two such nodes must not merge."""
    network = Network()
    network.node(op, ["x", network.constant("a", [3, 4], dtype)], "first")
    network.node(op, ["first", network.constant("b", 2, dtype)], "y")
    model = network.model({"x": (5, 2)}, ["y"], dtype=dtype)
    folded = fold(model)
    assert (folded.folds, folded.kept) == ((), ())
    assert folded.model.SerializeToString() == model.SerializeToString()
    assert decode_all(model)["first"] == Opaque(Reason.NOT_LINEAR, "the constant is not floating point")


@pytest.mark.parametrize("op", OPERATORS)
def test_two_activations_are_no_affine_map(op):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1)], "c")
    network.node(op, ["c", "z"], "y")
    model = network.model({"x": (2, 3, 4, 4), "z": (1, CHANNELS, 1, 1)}, ["y"])
    expected = {"Add": Sum, "Sub": Sum, "Mul": Product, "Div": Opaque}[op]
    assert isinstance(decode_all(model)["y"], expected)


@pytest.mark.parametrize("op", OPERATORS)
def test_two_constants_are_no_affine_map(op):
    network = Network()
    network.node(op, [network.weight("a", CHANNELS, 1, 1), network.weight("b", CHANNELS, 1, 1)], "computed")
    network.node("Mul", ["x", "computed"], "y")
    model = network.model({"x": (2, CHANNELS, 4, 4)}, ["y"])
    expected = Opaque(Reason.NOT_LINEAR, f"{op} needs one constant and one activation")
    assert decode_all(model)["computed"] == expected
    assert isinstance(decode_all(model)["y"], AffineMap)


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(op, bad):
    model = behind_conv(op, False, ())
    model.graph.initializer[1].CopyFrom(helper.make_tensor("constant", TensorProto.FLOAT, (), [bad]))
    folded = fold(model)
    assert folded.folds == ()
    meaning = decode_all(model)["y"]
    if (op, bad) == ("Add", -np.inf):
        assert isinstance(meaning, Masking)
    else:
        assert meaning == Opaque(Reason.NOT_FINITE, "the constant holds NaN or infinity")


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_division_by_zero(zero):
    model = behind_conv("Div", False, ())
    model.graph.initializer[1].CopyFrom(helper.make_tensor("constant", TensorProto.FLOAT, (), [zero]))
    assert fold(model).folds == ()
    assert decode_all(model)["y"] == Opaque(Reason.NOT_FINITE, "the divisor holds a zero")


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_a_factor_along_the_width_takes_no_map_over_the_channels(op):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1)], "c")
    network.node(op, ["c", network.weight("constant", 5)], "m")
    network.batch_norm("m", "y", CHANNELS)
    model = network.model({"x": (2, 3, 6, 5)}, ["y"])
    assert_stays(model, Reason.SHIFT_CANNOT_PASS, "a multiplication has no parameter that could take the shift")


def test_without_affine_nodes_only_batch_norms_fold():
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1)], "c")
    network.batch_norm("c", "b", CHANNELS)
    network.node("Mul", ["b", network.weight("constant", CHANNELS, 1, 1)], "y")
    folded = assert_folds_to(network.model({"x": (2, 3, 4, 4)}, ["y"]), "Conv", "Mul", affine=False)
    assert count(folded.model, "Mul") == 1
    assert folded.kept == ()


def test_an_addend_along_the_width_takes_no_map_over_the_channels():
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1)], "c")
    network.node("Add", ["c", network.weight("constant", 5)], "m")
    network.batch_norm("m", "y", CHANNELS)
    model = network.model({"x": (2, 3, 6, 5)}, ["y"])
    assert_stays(model, Reason.PARAMETER_GROWS, "a constant of 5 numbers would become one of 20")
