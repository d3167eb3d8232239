"""x -- Conv -- operator -- affine -- y: the affine moves up through activations, pooling, padding, reductions."""

import pytest

from bnfold.refusal import Reason
from tests.onnx.grids import ANY, MAXIMA, MIXED, NO_SHIFT, OPAQUE, RAMPS
from tests.onnx.paths import KINDS, assert_moves, assert_stuck, conv_then, step, steps


@steps(*ANY)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_passes_means_and_copies(step, kind):
    assert_moves(conv_then([step], kind), "Conv", step.op_type, direction="upstream")


@steps(*NO_SHIFT)
def test_a_scale_passes_what_adds_zeros(step):
    assert_moves(conv_then([step], "Mul"), "Conv", step.op_type, direction="upstream")


@steps(*NO_SHIFT)
@pytest.mark.parametrize("kind", ["BN", "Add"])
def test_a_shift_does_not_pass_what_adds_zeros(step, kind):
    assert_stuck(conv_then([step], kind), Reason.SHIFT_CANNOT_PASS, "y", "v0", evidence="max |shift|")


@steps(*MAXIMA)
@pytest.mark.parametrize("kind", ["BN+", "Mul+", "Add"])
def test_a_scale_without_a_minus_passes_maxima(step, kind):
    assert_moves(conv_then([step], kind), "Conv", step.op_type, direction="upstream")


@steps(*MAXIMA, *RAMPS)
@pytest.mark.parametrize("kind", ["BN", "Mul"])
def test_a_negative_scale_turns_maxima_and_ramps_around(step, kind):
    model = conv_then([step], kind)
    evidence = "scale < 0 in 1 of 4 channels (min "
    assert_stuck(model, Reason.NEEDS_NON_NEGATIVE_SCALE, "y", "v0", evidence=evidence)


@steps(*RAMPS)
def test_a_scale_without_a_minus_passes_ramps(step):
    assert_moves(conv_then([step], "Mul+"), "Conv", step.op_type, direction="upstream")


@steps(*RAMPS)
@pytest.mark.parametrize("kind", ["BN+", "Add"])
def test_no_shift_passes_ramps(step, kind):
    assert_stuck(conv_then([step], kind), Reason.SHIFT_CANNOT_PASS, "y", "v0", evidence="bends at zero")


@steps(*OPAQUE)
@pytest.mark.parametrize("kind", ["Mul+", "Add"])
def test_nothing_passes(step, kind):
    assert_stuck(conv_then([step], kind), Reason.NOT_LINEAR, "y", "v0")


@steps(
    step("CumSum", [1]),
    step("Pad", [0, 1, 0, 0, 0, 0, 0, 0], mode="edge"),
    step("Pad", [0, 1, 0, 0, 0, -1, 0, 0], mode="reflect"),
    step("Pad", [0, -1, 0, 0, 0, 0, 0, 0]),
    step("Resize", None, [1.0, 2.0, 1.0, 1.0], mode="nearest"),
    step("Resize", None, [1.0, 1.24, 2.0, 1.0], mode="nearest"),
    step("ReduceMean", axes=[1], keepdims=0),
    step("ReduceSum", [1], keepdims=0),
)
def test_maps_over_a_mixed_axis_do_not_pass(step):
    """A reduction over the channels leaves the height on axis 1, and that is no axis of the convolution's outputs."""
    path = ("y", "v0", "start") if step.op_type.startswith("Reduce") else ("y", "v0")
    assert_stuck(conv_then([step], "Mul"), Reason.WRONG_AXIS, *path)


@steps(
    step("Resize", None, [1.0, 1.0, 1.15, 2.0], mode="nearest"),
    step("Resize", None, [1.0, 1.0, 1.16, 2.0], mode="linear"),
    step("Resize", [1.0, 1.0, 1.16, 2.0], mode="linear", opset=10),
    step("Upsample", [1.0, 1.0, 1.16, 2.0], mode="nearest", opset=9),
    step("Upsample", mode="nearest", scales=[1.0, 1.0, 1.16, 2.0], opset=7),
    step("Resize", None, None, [9, 9], mode="nearest", axes=[2, 3], keep_aspect_ratio_policy="not_larger", opset=18),
)
def test_a_resampled_axis_may_keep_its_length(step):
    """6 * 1.1 rounds down to 6, and yet the places are mixed: a map over the height cannot pass."""
    assert_stuck(conv_then([step], "Mul", axis=2), Reason.WRONG_AXIS, "y", "v0")


@steps(*[entry for entry in MIXED if entry.op_type == "ReduceMean" or entry.op_type == "ReduceSum"])
def test_one_number_passes_a_reduction_of_the_channels(step):
    """With one channel left of four, the map is the same everywhere."""
    model = conv_then([step], "Mul")
    assert_moves(model, "Conv", step.op_type, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_of_many_steps(kind):
    chain = [
        step("Pad", [0, 0, 1, 1, 0, 0, 1, 1], mode="edge"),
        step("AveragePool", kernel_shape=[2, 2]),
        step("Neg"),
        step("Resize", None, [1.0, 1.0, 2.0, 2.0], mode="linear"),
        step("Neg"),
        step("ReduceSum", [2, 3]),
    ]
    folded = assert_moves(conv_then(chain, kind), "Conv", *[entry.op_type for entry in chain], direction="upstream")
    (fold,) = folded.folds
    assert fold.into == ("start_node",)
    assert set(fold.through) == {f"v{number}_node" for number in range(len(chain))}


@steps(step("AveragePool", kernel_shape=[2, 2]), step("MaxPool", kernel_shape=[2, 2]), step("Neg"), step("Relu"))
def test_half_precision(step):
    assert_moves(conv_then([step], "Mul+", dtype="float16"), "Conv", step.op_type)


@pytest.mark.parametrize("rank", [3, 5])
@pytest.mark.parametrize("op_type", ["AveragePool", "MaxPool"])
def test_other_ranks(rank, op_type):
    image = (2, 3, 5, 4, 3)[:rank]
    pool = step(op_type, kernel_shape=[2] * (rank - 2))
    assert_moves(conv_then([pool], "BN+", image=image), "Conv", op_type)
