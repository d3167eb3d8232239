"""Several branches -- Concat, Add, Sub, Sum, Mul, Split -- affine: every branch absorbs its part, or nothing moves."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_names_hold, assert_stuck, conv

IMAGE = (2, 3, 6, 4)


def branches(*channels, opset=17, **attributes):
    """x into one convolution for each branch: b0, b1 and so on."""
    network = Network(opset=opset)
    names = [conv(network, "x", f"b{number}", 3, count, **attributes) for number, count in enumerate(channels)]
    return network, names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [(4,), (4, 4), (1, 3, 2)], ids=str)
@pytest.mark.parametrize("opset", [7, 11, 17])
def test_concat_of_channels(channels, kind, opset):
    network, names = branches(*channels, opset=opset)
    network.node("Concat", names, "joined", axis=-3 if opset >= 11 else 1)
    affine(network, "joined", "y", kind, (2, sum(channels), 6, 4))
    folded = assert_moves(network.model({"x": IMAGE}, ["y"]), *["Conv"] * len(channels), "Concat", direction="upstream")
    (fold,) = folded.folds
    assert set(fold.into) == {f"{name}_node" for name in names}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [4, "width", None], ids=str)
def test_concat_of_places(kind, width):
    """Each branch takes the whole map, whatever its length."""
    network, names = branches(4, 4)
    network.node("Concat", names, "joined", axis=3)
    affine(network, "joined", "y", kind, (2, 4, 6, 8))
    model = network.model({"x": (2, 3, 6, width)}, ["y"])
    assert_moves(model, "Conv", "Conv", "Concat", shapes={"x": IMAGE}, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("axis", [1, 2])
def test_concat_with_an_affine_in_one_branch(axis, before, kind):
    network, names = branches(4, 4)
    names[0] = affine(network, names[0], "inner", before, (2, 4, 6, 4))
    network.node("Concat", names, "joined", axis=axis)
    affine(network, "joined", "y", kind, (2, 8 if axis == 1 else 4, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Conv", "Concat", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
def test_concat_of_a_tensor_with_itself(kind):
    """On the channel axis its two copies would need different scales; along the width they need the same."""
    for axis in (1, 3):
        network, _ = branches(4)
        network.node("Concat", ["b0", "b0"], "joined", axis=axis)
        affine(network, "joined", "y", kind, (2, 8 if axis == 1 else 4, 6, 4))
        model = network.model({"x": IMAGE}, ["y"])
        if axis == 3:
            assert_moves(model, "Conv", "Concat", direction="upstream")
        else:
            assert_stuck(model, Reason.OTHER_CONSUMERS, "y", "joined", "b0", evidence="different maps")


@pytest.mark.parametrize("kind", KINDS)
def test_concat_with_a_branch_that_cannot_absorb(kind):
    network, names = branches(4)
    network.node("Concat", [*names, "x"], "joined", axis=1)
    affine(network, "joined", "y", kind, (2, 7, 6, 4))
    assert_stuck(network.model({"x": IMAGE}, ["y"]), Reason.GRAPH_INPUT, "y", "joined", evidence="'x' is an input")


@pytest.mark.parametrize("kind", KINDS)
def test_concat_with_a_branch_whose_part_is_the_identity(kind):
    """A part of the map that changes nothing needs no absorber."""
    network, names = branches(4)
    network.node("Concat", [*names, "x"], "joined", axis=1)
    affine(network, "joined", "y", kind.replace("BN", "Mul"), (2, 7, 6, 4))
    constant = network.initializers["y.constant"]
    constant[:, 4:] = 0.0 if kind == "Add" else 1.0
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Concat", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Sum"])
@pytest.mark.parametrize("opset", [7, 13, 17])
def test_sums_of_branches(op_type, kind, opset):
    network, names = branches(4, 4, opset=opset)
    network.node(op_type, names, "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    folded = assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Conv", op_type, direction="upstream")
    assert len(folded.folds[0].into) == (1 if kind == "Add" else 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_sums_of_any_number(count, kind):
    network, names = branches(*[4] * count)
    network.node("Sum", names, "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), *["Conv"] * count, "Sum", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [False, True], ids=["a - b(pooled)", "b(pooled) - a"])
def test_a_branch_that_is_broadcast_over_the_image(first, kind):
    network, _ = branches(4, 4)
    network.node("GlobalAveragePool", ["b1"], "small")
    network.node("Sub", ["small", "b0"] if first else ["b0", "small"], "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Conv", "GlobalAveragePool", "Sub", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [2, 4])
def test_a_branch_that_is_broadcast_over_the_channels(rank, kind):
    """One channel is added to four: it cannot have four scales. A shift goes to the other branch."""
    network, _ = branches(4, 1)
    if rank == 2:
        network.node("ReduceMean", ["b1"], "small", axes=[0, 1], keepdims=0)
    else:
        network.node("Identity", ["b1"], "small")
    network.node("Add", ["small", "b0"], "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    model = network.model({"x": IMAGE}, ["y"])
    if kind == "Add":
        assert_moves(model, "Conv", "Conv", "ReduceMean" if rank == 2 else "Identity", "Add", direction="upstream")
    else:
        assert_stuck(model, Reason.WRONG_AXIS, "y", "joined", evidence="on which a branch is repeated")


@pytest.mark.parametrize("swap", [False, True], ids=["conv + relu", "relu + conv"])
@pytest.mark.parametrize("kind", ["BN+", "BN", "Add"])
def test_the_shift_takes_the_branch_that_lets_it_pass(swap, kind):
    """Conv + Relu(Conv): the scale goes both ways, the shift past the Relu is refused and takes the other."""
    network, _ = branches(4, 4)
    network.node("Relu", ["b1"], "bent")
    network.node("Add", ["bent", "b0"] if swap else ["b0", "bent"], "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    model = network.model({"x": IMAGE}, ["y"])
    if kind == "BN":
        assert_stuck(model, Reason.NEEDS_NON_NEGATIVE_SCALE, "y", "joined", "bent")
    else:
        assert_moves(model, "Conv", "Conv", "Relu", "Add", direction="upstream")


@pytest.mark.parametrize("sign", ["Add", "Sub"])
def test_a_shift_through_sums_of_sums(sign):
    """Only the last of four branches lets the shift pass, behind two signs."""
    network, _ = branches(4, 4, 4, 4)
    for number in range(3):
        network.node("Relu", [f"b{number}"], f"r{number}")
    network.node(sign, ["r0", "r1"], "left")
    network.node(sign, ["r2", "b3"], "right")
    network.node(sign, ["left", "right"], "joined")
    affine(network, "joined", "y", "BN+", (2, 4, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), *["Conv"] * 4, *["Relu"] * 3, *[sign] * 3, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op_type", ["Add", "Sum"])
def test_a_tensor_added_to_itself(op_type, kind):
    """Each use gets an equal part of the shift."""
    network, _ = branches(4)
    uses = ["b0"] * (3 if op_type == "Sum" else 2)
    network.node(op_type, uses, "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", op_type, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_taken_from_itself(kind):
    """Both uses want the same scale, but a shift would vanish."""
    network, _ = branches(4)
    network.node("Sub", ["b0", "b0"], "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    model = network.model({"x": IMAGE}, ["y"])
    if kind == "Mul":
        assert_moves(model, "Conv", "Sub", direction="upstream")
    else:
        folded = fold_and_compare(model)
        assert folded.batch_norms_left == int(kind == "BN")
        assert {entry.refusals[0].reason for entry in folded.kept} == {Reason.OTHER_CONSUMERS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_residual_with_other_readers_stays(kind):
    """ResNet v2: the sum goes to the BatchNorm and on to the next block."""
    network, names = branches(4, 4)
    network.node("Add", names, "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    network.node("Sigmoid", ["joined"], "other")
    model = network.model({"x": IMAGE}, ["y", "other"])
    assert_stuck(
        model, Reason.OTHER_CONSUMERS, "y", "joined", evidence="'joined' is also read by 'other_node' (Sigmoid)"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_with_other_readers_stays(kind):
    network, names = branches(4, 4)
    network.node("Sub", names, "joined")
    affine(network, "joined", "y", kind.replace("Add", "Mul"), (2, 4, 6, 4))
    network.node("Sigmoid", ["b1"], "other")
    model = network.model({"x": IMAGE}, ["y", "other"])
    assert_stuck(model, Reason.OTHER_CONSUMERS, "y", "joined", "b1", evidence="'b1' is also read by")


@pytest.mark.parametrize("swap", [False, True], ids=["b0 first", "b0 last"])
def test_a_shift_avoids_the_branch_with_other_readers(swap):
    network, names = branches(4, 4)
    network.node("Sub", names[::-1] if swap else names, "joined")
    affine(network, "joined", "y", "Add", (2, 4, 6, 4))
    network.node("Sigmoid", ["b1"], "other")
    folded = assert_moves(network.model({"x": IMAGE}, ["y", "other"]), "Conv", "Conv", "Sub", "Sigmoid")
    assert folded.folds[0].into == ("b0_node",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_takes_a_scale_on_one_side(kind):
    """Squeeze and excitation: a gate that is computed at run time."""
    network, _ = branches(4, 4)
    network.node("Sigmoid", ["b1"], "gate")
    network.node("Mul", ["gate", "b0"], "joined")
    affine(network, "joined", "y", kind, (2, 4, 6, 4))
    model = network.model({"x": IMAGE}, ["y"])
    if kind == "Mul":
        folded = assert_moves(model, "Conv", "Conv", "Sigmoid", "Mul", direction="upstream")
        assert folded.folds[0].into == ("b0_node",)
    else:
        assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "y", "joined", evidence="a product of two activations")


def test_a_square_has_no_single_side_to_take_a_scale():
    network, _ = branches(4)
    network.node("Mul", ["b0", "b0"], "joined")
    affine(network, "joined", "y", "Mul", (2, 4, 6, 4))
    assert_stuck(network.model({"x": IMAGE}, ["y"]), Reason.OTHER_CONSUMERS, "y", "joined", "b0")


def split(opset, sizes, equal):
    network = Network(opset=opset)
    conv(network, "x", "start", 3, sum(sizes))
    names = [f"s{number}" for number in range(len(sizes))]
    if equal:
        attributes = {"num_outputs": len(sizes)} if opset >= 18 else {}
        network.node("Split", ["start"], names, axis=1, **attributes)
    elif opset < 13:
        network.node("Split", ["start"], names, axis=1, split=list(sizes))
    else:
        network.node("Split", ["start", network.constant("sizes", list(sizes), "int64")], names, axis=1)
    return network, names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
@pytest.mark.parametrize(("sizes", "equal"), [((4, 4), True), ((4, 4, 4), True), ((1, 5, 2), False)], ids=str)
def test_affines_behind_the_parts_of_a_split(opset, sizes, equal, kind):
    network, names = split(opset, sizes, equal)
    outputs = [affine(network, name, f"y{n}", kind, (2, sizes[n], 6, 4)) for n, name in enumerate(names)]
    assert_moves(network.model({"x": IMAGE}, outputs), "Conv", "Split", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1])
def test_one_part_of_an_uneven_split(which, kind):
    """7 channels in two parts are 4 and 3; the other part is an output as it is, or not read at all."""
    for read in (False, True):
        network, names = split(18, (4, 3), equal=True)
        affine(network, names[which], "y", kind, (2, (4, 3)[which], 6, 4))
        outputs = ["y", *([names[1 - which]] if read else [])]
        folded = assert_moves(network.model({"x": IMAGE}, outputs), "Conv", "Split", direction="upstream")
        made = {name for node in folded.model.graph.node for name in node.output}
        assert names[1 - which] in made
        assert "start" not in made


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_along_the_image(kind):
    """Both halves would have to take the same map, and only one has it."""
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Split", ["start"], ["left", "right"], axis=3)
    affine(network, "left", "y", kind, (2, 4, 6, 2))
    model = network.model({"x": IMAGE}, ["y", "right"])
    assert_stuck(model, Reason.WRONG_AXIS, "y", "left", "start", evidence="the output channels are on axis 1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_shuffle_of_branches(kind):
    """ShuffleNet: two branches, joined, shuffled and split again."""
    network, names = branches(4, 4)
    network.node("Concat", names, "joined", axis=1)
    network.node("Reshape", ["joined", network.constant("groups", [2, 2, 4, 6, 4], "int64")], "grouped")
    network.node("Transpose", ["grouped"], "turned", perm=[0, 2, 1, 3, 4])
    network.node("Reshape", ["turned", network.constant("flat", [2, 8, 6, 4], "int64")], "shuffled")
    network.node("Split", ["shuffled"], ["left", "right"], axis=1)
    affine(network, "left", "y", kind, (2, 4, 6, 4))
    affine(network, "right", "z", kind, (2, 4, 6, 4))
    expected = ["Conv", "Conv", "Concat", "Reshape", "Transpose", "Reshape", "Split"]
    assert_moves(network.model({"x": IMAGE}, ["y", "z"]), *expected, direction="upstream")


def test_two_affines_of_which_one_blocks_the_other():
    """A sum behind two BatchNorms with one of the branches also an output: what can go goes."""
    network, names = branches(4, 4)
    inner = affine(network, names[0], "inner", "BN", (2, 4, 6, 4))
    network.node("Add", [inner, names[1]], "joined")
    affine(network, "joined", "y", "BN", (2, 4, 6, 4))
    folded = fold_and_compare(network.model({"x": IMAGE}, ["y", "b1"]))
    assert operators(folded.model) == ["Conv", "Conv", "Add", "BatchNormalization"]
    (kept,) = folded.kept
    assert kept.refusals[0].reason is Reason.GRAPH_OUTPUT
    assert_names_hold(folded)
