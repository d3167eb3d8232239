"""x -- affine -- operator -- Conv -- y: the affine moves down through activations, pooling, padding, reductions."""

import pytest

from bnfold.refusal import Reason
from tests.onnx.grids import ANY, MAXIMA, MIXED, NO_SHIFT, OPAQUE, RAMPS
from tests.onnx.paths import KINDS, assert_moves, assert_stuck, step, steps, then_conv


@steps(*ANY)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_passes_means_and_copies(step, kind):
    model = then_conv([step], kind)
    assert_moves(model, step.op_type, model.graph.node[-1].op_type, direction="downstream")


@steps(*NO_SHIFT)
def test_a_scale_passes_what_adds_zeros(step):
    assert_moves(then_conv([step], "Mul"), step.op_type, "Conv", direction="downstream")


@steps(*NO_SHIFT)
@pytest.mark.parametrize("kind", ["BN", "Add"])
def test_a_shift_does_not_pass_what_adds_zeros(step, kind):
    assert_stuck(then_conv([step], kind), Reason.SHIFT_CANNOT_PASS, "normal", "v0", downstream=True)


@steps(*MAXIMA)
@pytest.mark.parametrize("kind", ["BN+", "Mul+", "Add"])
def test_a_scale_without_a_minus_passes_maxima(step, kind):
    model = then_conv([step], kind)
    assert_moves(model, step.op_type, model.graph.node[-1].op_type, direction="downstream")


@steps(*MAXIMA)
@pytest.mark.parametrize("kind", ["BN", "Mul"])
def test_a_negative_scale_turns_maxima_around(step, kind):
    assert_stuck(then_conv([step], kind), Reason.NEEDS_NON_NEGATIVE_SCALE, "normal", "v0", downstream=True)


@steps(*RAMPS)
def test_a_scale_without_a_minus_passes_ramps(step):
    assert_moves(then_conv([step], "Mul+"), step.op_type, "Conv", direction="downstream")


@steps(*RAMPS)
def test_a_negative_scale_turns_ramps_around(step):
    assert_stuck(then_conv([step], "Mul"), Reason.NEEDS_NON_NEGATIVE_SCALE, "normal", "v0", downstream=True)


@steps(*RAMPS)
@pytest.mark.parametrize("kind", ["BN", "BN+", "Add"])
def test_no_shift_passes_ramps(step, kind):
    assert_stuck(then_conv([step], kind), Reason.SHIFT_CANNOT_PASS, "normal", "v0", downstream=True)


@steps(*OPAQUE)
@pytest.mark.parametrize("kind", ["Mul+", "Add"])
def test_nothing_passes(step, kind):
    assert_stuck(then_conv([step], kind), Reason.NOT_LINEAR, "normal", "v0", downstream=True)


@steps(*MIXED)
@pytest.mark.parametrize("kind", ["BN", "Mul", "Add"])
def test_maps_over_a_mixed_axis_do_not_pass(step, kind):
    assert_stuck(then_conv([step], kind), Reason.WRONG_AXIS, "normal", "v0", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_of_many_steps(kind):
    chain = [
        step("Pad", [0, 0, 1, 1, 0, 0, 1, 1], mode="edge"),
        step("AveragePool", kernel_shape=[2, 2]),
        step("Neg"),
        step("Resize", None, [1.0, 1.0, 2.0, 2.0], mode="linear"),
        step("Neg"),
        step("ReduceSum", [2, 3], keepdims=0),
    ]
    assert_moves(then_conv(chain, kind), *[entry.op_type for entry in chain], "Gemm", direction="downstream")


@steps(step("AveragePool", kernel_shape=[2, 2]), step("MaxPool", kernel_shape=[2, 2]), step("Neg"), step("Relu"))
def test_half_precision(step):
    assert_moves(then_conv([step], "Mul+", dtype="float16"), step.op_type, "Conv")


@steps(step("ReduceSum", [2, 3], keepdims=0), step("ReduceMean", axes=[2, 3], keepdims=0))
def test_double_precision(step):
    assert_moves(then_conv([step], "BN", dtype="float64"), step.op_type, "Gemm")


def test_a_sum_over_a_length_unknown_before_run_time():
    """A scale passes it; a shift would be counted as often as the length says."""
    chain = [step("ReduceSum", [2, 3])]
    image = (2, 4, "h", 5)
    assert_moves(then_conv(chain, "Mul", image=image), "ReduceSum", "Conv")
    model = then_conv(chain, "Add", image=image)
    assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "normal", "v0", downstream=True, evidence="not known before run time")
