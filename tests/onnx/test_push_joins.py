"""Affine nodes in front of Concat, Split, Add, Sub, Sum and Mul, and an operator with weights behind."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_names_hold, assert_stuck, conv

IMAGE = (2, 4, 6, 4)
INPUTS = {"x": IMAGE, "z": IMAGE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("opset", [7, 17])
def test_one_branch_of_a_concat(position, kind, opset):
    """DenseNet turned around: the other branches keep scale 1 and shift 0."""
    network = Network(opset=opset)
    names = ["x", "z", "z"]
    names[position] = affine(network, names[position], "normal", kind, IMAGE)
    network.node("Concat", names, "joined", axis=1)
    conv(network, "joined", "y", 12, 3)
    assert_moves(network.model(INPUTS, ["y"]), "Concat", "Conv", direction="downstream")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_two_branches_of_a_concat_one_after_the_other(first, second):
    network = Network()
    names = [affine(network, "x", "n0", first, IMAGE), affine(network, "z", "n1", second, IMAGE)]
    network.node("Concat", names, "joined", axis=-3)
    conv(network, "joined", "y", 8, 3)
    folded = assert_moves(network.model(INPUTS, ["y"]), "Concat", "Conv", direction="downstream")
    assert len(folded.folds) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_half_of_the_image_is_no_channel(kind):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Concat", ["normal", "z"], "joined", axis=2)
    conv(network, "joined", "y", 4, 3)
    assert_stuck(network.model(INPUTS, ["y"]), Reason.WRONG_AXIS, "normal", "joined", "y", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [1, 3])
def test_concat_with_itself(kind, axis):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Concat", ["normal", "normal"], "joined", axis=axis)
    conv(network, "joined", "y", 8 if axis == 1 else 4, 3)
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Concat", "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", ["width", None], ids=str)
def test_concat_of_unknown_lengths(kind, width):
    """On the other axes it does not matter how long the branches are."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Concat", ["z", "normal"], "joined", axis=1)
    conv(network, "joined", "y", 8, 3)
    shape = ("batch", 4, 6, width)
    model = network.model({"x": shape, "z": shape}, ["y"])
    assert_moves(model, "Concat", "Conv", direction="downstream", shapes=INPUTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Sum"])
@pytest.mark.parametrize("slot", [0, 1])
def test_one_branch_of_a_sum(op_type, slot, kind):
    """A shift passes a sum, a scale of one branch does not."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node(op_type, ["normal", "z"] if slot == 0 else ["z", "normal"], "joined")
    conv(network, "joined", "y", 4, 3)
    model = network.model(INPUTS, ["y"])
    if kind == "Add":
        assert_moves(model, op_type, "Conv", direction="downstream")
    else:
        assert_stuck(model, Reason.OTHER_BRANCH, "normal", "joined", downstream=True)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Sum"])
@pytest.mark.parametrize("slot", [0, 1])
def test_a_shift_of_a_branch_that_is_broadcast(op_type, slot):
    network = Network()
    network.node("Add", ["z", network.weight("shift", 1, 4, 1, 1)], "normal")
    network.node(op_type, ["normal", "x"] if slot == 0 else ["x", "normal"], "joined")
    conv(network, "joined", "y", 4, 3)
    model = network.model({"x": IMAGE, "z": (1, 4, 1, 1)}, ["y"])
    assert_moves(model, op_type, "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Sum"])
def test_a_sum_with_itself(op_type, kind):
    """Both uses carry the same map: the shift comes out twice, or not at all."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node(op_type, ["normal", "normal"], "joined")
    conv(network, "joined", "y", 4, 3)
    assert_moves(network.model({"x": IMAGE}, ["y"]), op_type, "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
def test_branches_of_one_affine_meet_again(kind):
    """x -- affine -- (Neg; AveragePool -- Resize; as it is) -- Sum -- Conv."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("AveragePool", ["normal"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    network.node("Resize", ["pooled", "", network.constant("factors", [1, 1, 2, 2])], "resized", mode="nearest")
    network.node("Neg", ["resized"], "negative")
    network.node("Neg", ["negative"], "positive")
    network.node("Sum", ["normal", "positive", "normal"], "joined")
    conv(network, "joined", "y", 4, 3)
    expected = ["AveragePool", "Resize", "Neg", "Neg", "Sum", "Conv"]
    assert_moves(network.model({"x": IMAGE}, ["y"]), *expected, direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
def test_branches_that_meet_with_different_signs(kind):
    """The scale is the same in both, the shifts have lost their sign on one side."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Neg", ["normal"], "negative")
    network.node("ReduceSum", ["negative", network.constant("axes", [2, 3], "int64")], "sums")
    network.node("Sub", ["normal", "sums"], "joined")
    conv(network, "joined", "y", 4, 3)
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Neg", "ReduceSum", "Sub", "Conv", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("square", [False, True])
def test_products(square, kind):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Mul", ["normal", "normal" if square else "z"], "joined")
    conv(network, "joined", "y", 4, 3)
    model = network.model({"x": IMAGE} if square else INPUTS, ["y"])
    if kind == "Mul":
        assert_moves(model, "Mul", "Conv", direction="downstream")
    else:
        assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "normal", "joined", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("opset", "form"), [(7, "attribute"), (13, "input"), (18, "input"), (18, "number"), (17, "equal")]
)
def test_every_part_of_a_split_absorbs(opset, form, kind):
    network = Network(opset=opset)
    affine(network, "x", "normal", kind, (2, 5, 6, 4) if form != "equal" else IMAGE)
    sizes = {"number": (3, 2), "equal": (2, 2)}.get(form, (1, 4))
    inputs = ["normal", *([network.constant("sizes", sizes, "int64")] if form == "input" else [])]
    attributes = {"attribute": {"split": list(sizes)}, "number": {"num_outputs": 2}}.get(form, {})
    network.node("Split", inputs, ["a", "b"], axis=1, **attributes)
    conv(network, "a", "y", sizes[0], 3)
    conv(network, "b", "u", sizes[1], 3, bias=False)
    model = network.model({"x": (2, sum(sizes), 6, 4)}, ["y", "u"])
    folded = assert_moves(model, "Split", "Conv", "Conv", direction="downstream")
    assert set(folded.folds[0].into) == {"y_node", "u_node"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_split_that_cannot_absorb(kind):
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Split", ["normal"], ["a", "b"], axis=1)
    conv(network, "a", "y", 2, 3)
    network.node("Sigmoid", ["b"], "u")
    model = network.model({"x": IMAGE}, ["y", "u"])
    assert_stuck(model, Reason.NOT_LINEAR, "normal", "a", "u", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_split_that_nobody_reads(kind):
    """There is nothing that the map could change."""
    network = Network()
    affine(network, "x", "normal", kind, IMAGE)
    network.node("Split", ["normal"], ["a", "b"], axis=1)
    conv(network, "a", "y", 2, 3)
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Split", "Conv", direction="downstream")


def test_batch_norms_in_both_branches_of_a_sum_stay_apart():
    """Their scales differ, so none can pass; the shifts could, but a BatchNorm without its shift is still one."""
    network = Network()
    names = [affine(network, name, f"n{name}", "BN", IMAGE) for name in ("x", "z")]
    network.node("Add", names, "joined")
    conv(network, "joined", "y", 4, 3)
    folded = fold_and_compare(network.model(INPUTS, ["y"]))
    assert operators(folded.model) == ["BatchNormalization", "BatchNormalization", "Add", "Conv"]
    assert [entry.refusals[1].reason for entry in folded.kept] == [Reason.OTHER_BRANCH] * 2
    assert_names_hold(folded)
