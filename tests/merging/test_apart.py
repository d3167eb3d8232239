"""Branches of ONNX graphs that stay apart, with a reason."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold
from tests.merging.test_onnx import IMAGE, conv, conv_norm, merged, rep_vgg
from tests.networks import Network
from tests.onnx.checks import operators


def test_crossing_kernels_alone_would_cost_more():
    network = Network()
    conv(network, "x", "flat", 4, 4, 1, 3, pads=[0, 1, 0, 1])
    conv(network, "x", "tall", 4, 4, 3, 1, pads=[1, 0, 1, 0])
    network.node("Add", ["flat", "tall"], "y")
    assert_apart(network, Reason.COSTS_MORE, "together they take 144 multiply-adds for each place, apart 96")


def test_depthwise_beside_pointwise_would_cost_more():
    network = Network()
    conv(network, "x", "deep", 4, 1, 3, 3, pads=[1] * 4, group=4)
    conv(network, "x", "point", 4, 4, 1, 1)
    network.node("Add", ["deep", "point"], "y")
    assert_apart(network, Reason.COSTS_MORE, "together they take 144 multiply-adds for each place, apart 52")


def assert_apart(network, reason, evidence, **options):
    """Nothing changes, and the sum says why."""
    model = network.model(IMAGE, ["y"])
    folded = fold(model, merge=True, **options)
    assert folded.merges == ()
    assert operators(folded.model) == operators(model)
    (apart,) = folded.apart
    assert (apart.refusals[0].reason, apart.refusals[0].evidence) == (reason, evidence)


def test_dilated_kernels_that_look_elsewhere():
    network = Network()
    conv(network, "x", "one", 4, 4, 3, 3, pads=[2] * 4, dilations=[2, 2])
    conv(network, "x", "other", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Add", ["one", "other"], "y")
    assert_apart(network, Reason.BRANCHES_DIFFER, "branches differ in dilation: 2 and 1")


def test_strides_that_differ_where_broadcasting_hides_it():
    """Over one place a stride of 2 makes one place, too, and so the graph is valid."""
    network = Network()
    network.node("GlobalAveragePool", ["x"], "place")
    conv(network, "place", "one", 4, 4, 1, 1, strides=[2, 2])
    conv(network, "place", "other", 4, 4, 1, 1)
    network.node("Add", ["one", "other"], "y")
    assert_apart(network, Reason.BRANCHES_DIFFER, "branches differ in stride: 2 and 1")


def test_a_difference_whose_first_operand_would_go():
    """What is left would be a negative tensor alone."""
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Sigmoid", ["x"], "gate")
    network.node("Sub", ["x", "gate"], "difference")
    network.node("Add", ["difference", "wide"], "y")
    assert_apart(network, Reason.BRANCHES_DIFFER, "what is left of 'difference_node' would have to be negated")


@pytest.mark.parametrize("seen", ["read", "output", "shape"])
def test_a_branch_that_somebody_else_sees_stays(seen):
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv(network, "x", "narrow", 4, 4, 1, 1)
    network.node("Add", ["wide", "narrow"], "y")
    outputs = ["y"]
    if seen == "read":
        outputs.append(network.node("Relu", ["narrow"], "z"))
    elif seen == "shape":
        network.node("Cast", [network.node("Shape", ["narrow"], "shape")], "length", to=1)
        outputs.append(network.node("Mul", ["y", network.node("ReduceMax", ["length"], "most", keepdims=0)], "z"))
    else:
        outputs.append("narrow")
    folded = merged(network, outputs)
    assert folded.merges == ()
    (refusal,) = folded.apart[0].refusals
    reason, evidence = {
        "read": (Reason.OTHER_CONSUMERS, "'narrow' is read by 'y_node' (Add), 'z_node' (Relu)"),
        "output": (Reason.GRAPH_OUTPUT, "'narrow' is an output of graph"),
        "shape": (Reason.OTHER_CONSUMERS, "the form of 'narrow' is asked for, or it is read in a body"),
    }[seen]
    assert (refusal.reason, refusal.evidence) == (reason, evidence)


def test_excluded_sums_and_branches_stay():
    network = Network()
    rep_vgg(network, "x", "y", 4)
    assert len(merged(network, exclude=["y_node", "y.first_node"]).merges) == 0
    folded = merged(network, exclude=["y.1x1*"])
    assert operators(folded.model) == ["Conv", "Conv", "BatchNormalization", "Add"]


def test_a_shift_in_front_of_padded_zeros_keeps_its_branch_apart():
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv(network, "x", "before", 4, 4, 1, 1)
    conv(network, "before", "after", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Add", ["wide", "after"], "y")
    model = network.model(IMAGE, ["y"])
    folded = fold(model, merge=True)
    assert folded.merges == ()
    assert folded.apart[0].refusals[0].reason is Reason.SHIFT_CANNOT_PASS


def test_operators_in_a_row_that_are_not():
    network = Network()
    conv(network, "x", "deep", 4, 1, 3, 3, pads=[1] * 4, group=4)
    conv(network, "deep", "y", 8, 4, 1, 1)
    assert merged(network).merges == ()


def test_plain_networks_stay_as_they_are():
    network = Network()
    conv_norm(network, "x", "a", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Relu", ["a"], "a.relu")
    conv_norm(network, "a.relu", "b", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Add", ["b", "x"], "sum")
    network.node("Relu", ["sum"], "y")
    model = network.model(IMAGE, ["y"])
    with_merging, without = fold(model, merge=True), fold(model)
    assert with_merging.model.SerializeToString() == without.model.SerializeToString()
    assert with_merging.apart == ()


def test_integer_weights_stay_integers():
    """A weight behind a DequantizeLinear takes no sum; what has one stays, and the report says so."""
    network = Network()
    network.constant("q", network.random.integers(-127, 127, size=(4, 4, 3, 3)), "int8")
    scale, zero = network.constant("scale", 0.01), network.constant("zero", 0, "int8")
    network.node("DequantizeLinear", ["q", scale, zero], "w")
    network.node("Conv", ["x", "w"], "wide", pads=[1] * 4)
    network.node("Add", ["wide", "x"], "y")
    folded = merged(network)
    assert folded.merges == ()
    assert folded.apart[0].refusals[0].reason is Reason.QUANTIZED
