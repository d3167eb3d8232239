"""Operators that read images between and beside their places, and those that are the tensor itself in one form."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators

X = (2, 3, 6, 6)
IMAGE = {"y": ["n", "c", "h", "w"]}


def convolved(network, output="c"):
    return network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1), network.weight("b", 4)], output)


def behind(op_type, constants=(), *, opset=17, ends=None, outputs=1, **attributes):
    """Conv, the operator, and a BatchNorm or a Mul by `ends`."""
    network = Network(opset=opset)
    convolved(network)
    names = [network.constant(f"k{place}", values, dtype) for place, (values, dtype) in enumerate(constants)]
    made = ["o", *(f"o{place}" for place in range(1, outputs))]
    network.node(op_type, ["c", *names], made, **attributes)
    if ends is None:
        network.batch_norm("o", "y", 4)
    else:
        network.node("Mul", ["o", network.constant("m", ends)], "y")
    return network.model({"x": X}, IMAGE)


GRID = [(np.random.default_rng(0).uniform(-1.5, 1.5, size=(2, 5, 5, 2)), "float32")]
REGIONS = [([[0, 0, 4, 4], [1, 1, 9, 9], [2, 2, 3, 3]], "float32"), ([0, 1, 1], "int64")]
POSITIVE, ANY = (np.array(values).reshape(4, 1, 1) for values in ([0.5, 2.0, 0.0, 3.0], [0.5, -2.0, 0.0, 3.0]))


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_a_grid_that_stays_inside_of_the_image(padding, mode):
    assert_folds_to(behind("GridSample", GRID, opset=20, mode=mode, padding_mode=padding), "Conv", "GridSample")


def test_a_grid_before_opset_20():
    assert_folds_to(behind("GridSample", GRID, mode="bilinear", padding_mode="border"), "Conv", "GridSample")


def test_zeros_outside_of_the_image_stop_a_shift_and_no_scale():
    assert_stays(behind("GridSample", GRID), Reason.SHIFT_CANNOT_PASS, "places outside of the image are zeros")
    assert_folds_to(behind("GridSample", GRID, ends=ANY), "Conv", "GridSample")


def test_a_grid_that_a_map_would_change_takes_none():
    network = Network()
    network.node("Mul", ["g", network.constant("k", 0.5)], "h")
    network.node("GridSample", ["x", "h"], "y", padding_mode="border")
    (kept,) = fold(network.model({"x": X, "g": (2, 5, 5, 2)}, IMAGE)).kept
    assert "reads the tensor as one of its parameters" in kept.refusals[1].evidence


@pytest.mark.parametrize(("mode", "scale", "folds"), [("avg", ANY, True), ("max", POSITIVE, True), ("max", ANY, False)])
@pytest.mark.parametrize("opset", [10, 16])
def test_regions(opset, mode, scale, folds):
    size = {"output_height": 3, "output_width": 3, "mode": mode}
    model = behind("RoiAlign", REGIONS, opset=opset, ends=scale, **size)
    assert operators(fold_and_compare(model).model) == ["Conv", "RoiAlign", *([] if folds else ["Mul"])]


def test_regions_that_reach_beyond_the_image_stop_a_shift():
    model = behind("RoiAlign", REGIONS, output_height=3, output_width=3)
    assert_stays(model, Reason.SHIFT_CANNOT_PASS, "zeros")


def test_maxima_of_regions():
    regions = [([[0, 0, 0, 4, 4], [1, 1, 1, 5, 5]], "float32")]
    model = behind("MaxRoiPool", regions, ends=POSITIVE, pooled_shape=[2, 2])
    assert_folds_to(model, "Conv", "MaxRoiPool")


def test_a_crop_passes_maps_and_what_is_filled_up_scales():
    crop, fill = ([(lengths, "int64")] for lengths in ([4, 5], [4, 9]))
    assert_folds_to(behind("CenterCropPad", crop, opset=18, axes=[-2, -1]), "Conv", "CenterCropPad")
    assert_folds_to(behind("CenterCropPad", fill, opset=18, axes=[2, 3], ends=ANY), "Conv", "CenterCropPad")
    assert_stays(behind("CenterCropPad", fill, opset=18, axes=[2, 3]), Reason.SHIFT_CANNOT_PASS)


@pytest.mark.parametrize("upper", [0, 1])
def test_a_triangle_passes_scales(upper):
    assert_folds_to(behind("Trilu", ends=ANY, upper=upper), "Conv", "Trilu")
    assert_stays(behind("Trilu", upper=upper), Reason.SHIFT_CANNOT_PASS)


@pytest.mark.parametrize("attributes", [{}, {"largest": 0}, {"axis": 2}])
@pytest.mark.parametrize("opset", [10, 11])
def test_the_largest_of_an_axis(opset, attributes):
    if opset == 10 and "largest" in attributes:
        attributes = {"axis": -2}
    model = behind("TopK", [([3], "int64")], opset=opset, ends=POSITIVE, outputs=2, **attributes)
    assert_folds_to(model, "Conv", "TopK")


def test_the_largest_of_an_axis_under_a_negative_scale_are_others():
    model = behind("TopK", [([3], "int64")], ends=ANY, outputs=2)
    assert operators(fold_and_compare(model).model) == ["Conv", "TopK", "Mul"]


def test_places_of_the_largest_that_are_read_stop_everything():
    network = Network()
    convolved(network)
    network.node("TopK", ["c", network.constant("k", [3], "int64")], ["o", "places"])
    network.node("Mul", ["o", network.constant("m", POSITIVE)], "y")
    network.node("Cast", ["places"], "z", to=1)
    model = network.model({"x": X}, {name: ["n", "c", "h", "w"] for name in "yz"})
    assert operators(fold_and_compare(model).model) == ["Conv", "TopK", "Mul", "Cast"]


NORMS = [("LpPool", {"kernel_shape": [2, 2], "p": 3}), ("LpPool", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
         ("GlobalLpPool", {}), ("ReduceL1", {"axes": [-1, -2]}), ("ReduceL2", {"axes": [2]})]  # fmt: skip


@pytest.mark.parametrize(("op_type", "attributes"), NORMS, ids=str)
def test_norms_of_places(op_type, attributes):
    assert_folds_to(behind(op_type, ends=POSITIVE, **attributes), "Conv", op_type)
    assert_stays(behind(op_type, **attributes), Reason.SHIFT_CANNOT_PASS, "a norm keeps no shift")
    assert operators(fold_and_compare(behind(op_type, ends=ANY, **attributes)).model)[-1] == "Mul"


@pytest.mark.parametrize("opset", [8, 17])
@pytest.mark.parametrize("op_type", ["Max", "Min", "Clip", "Sum", "Mean"])
def test_of_one_tensor_and_without_limits_they_are_that_tensor(op_type, opset):
    if (op_type, opset) == ("Clip", 8):
        assert_stays(behind("Clip", opset=8, min=-1.0), Reason.NOT_LINEAR, "Clip is not linear")
    assert_folds_to(behind(op_type, opset=opset), "Conv", op_type)


def test_with_limits_it_is_not_linear():
    assert_stays(behind("Clip", [(0.5, "float32")]), Reason.NOT_LINEAR, "Clip is not linear")


@pytest.mark.parametrize("opset", [8, 12, 17])
def test_the_first_power_is_the_tensor_itself(opset):
    assert_folds_to(behind("Pow", [(1.0, "float32")], opset=opset), "Conv", "Pow")
    assert_stays(behind("Pow", [(2.0, "float32")], opset=opset), Reason.NOT_LINEAR, "Pow is not linear")


@pytest.mark.parametrize("text", ["nchw->nhwc", "abcd -> cdab"])
def test_an_einsum_that_permutes_axes(text):
    network = Network()
    convolved(network)
    network.node("Einsum", ["c"], "o", equation=text)
    along = text.split("->")[1].strip().index(text[1])
    network.node("Mul", ["o", network.weight("m", *(4 if axis == along else 1 for axis in range(4)))], "y")
    assert_folds_to(network.model({"x": X}, IMAGE), "Conv", "Einsum")


@pytest.mark.parametrize("text", ["nchw->nch", "nchw->"])
def test_an_einsum_that_sums_has_no_rule(text):
    network = Network()
    convolved(network)
    network.node("Einsum", ["c"], "o", equation=text)
    network.node("Mul", ["o", network.constant("m", 2.0)], "y")
    shape = [f"d{axis}" for axis in range(len(text.split("->")[1]))]
    assert operators(fold_and_compare(network.model({"x": X}, {"y": shape})).model) == ["Conv", "Einsum", "Mul"]
