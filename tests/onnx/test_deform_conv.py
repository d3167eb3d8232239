"""DeformConv takes maps as a Conv does: whole maps behind it, scales in front of it."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.kernels import needs_newer_kernels
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_stuck, conv

IMAGE = (1, 4, 6, 5)


def deform_conv(network, source, output, *, groups=1, bias=True, mask=False, dtype="float32"):
    """Offsets and mask come from convolutions of x."""
    conv(network, "x", f"{output}.offsets", 4, 8, kernel=2, dtype=dtype)
    inputs = [source, network.weight(f"{output}.weight", 6, 4 // groups, 2, 2, dtype=dtype), f"{output}.offsets"]
    if bias or mask:
        inputs.append(network.weight(f"{output}.bias", 6, dtype=dtype) if bias else "")
    if mask:
        conv(network, "x", f"{output}.places", 4, 4, kernel=2, dtype=dtype)
        inputs.append(network.node("Sigmoid", [f"{output}.places"], f"{output}.mask"))
    return network.node("DeformConv", inputs, output, group=groups, kernel_shape=[2, 2])


@needs_newer_kernels
@pytest.mark.parametrize("opset", [19, 22])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_behind_it(kind, mask, bias, groups, opset):
    network = Network(opset=opset)
    deform_conv(network, "x", "d", groups=groups, bias=bias, mask=mask)
    affine(network, "d", "y", kind, (1, 6, 5, 4))
    folded = fold_and_compare(network.model({"x": IMAGE}, ["y"]))
    assert operators(folded.model) == ["Conv", *["Conv", "Sigmoid"] * mask, "DeformConv"]


@needs_newer_kernels
@pytest.mark.parametrize("groups", [1, 2])
def test_a_scale_in_front_of_it(groups):
    network = Network(opset=19)
    affine(network, "x", "normal", "Mul", IMAGE)
    deform_conv(network, "normal", "y", groups=groups)
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "DeformConv", direction="downstream")


def test_a_shift_in_front_of_it_stays():
    network = Network(opset=19)
    affine(network, "x", "normal", "Add", IMAGE)
    deform_conv(network, "normal", "y")
    model = network.model({"x": IMAGE}, ["y"])
    assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "normal", "y", downstream=True, evidence="places beside the image")


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_take_no_map(kind):
    network = Network(opset=19)
    conv(network, "x", "o", 4, 8, kernel=2)
    affine(network, "o", "offsets", kind, (1, 8, 5, 4))
    network.node("Neg", ["o"], "z")
    network.node("DeformConv", ["x", network.weight("w", 6, 4, 2, 2), "offsets"], "y", kernel_shape=[2, 2])
    model = network.model({"x": IMAGE}, ["y", "z"])
    assert_stuck(model, Reason.NOT_LINEAR, "offsets", "y", downstream=True)
