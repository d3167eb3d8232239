"""Affine nodes in a row: they absorb one another, and what is left goes into the operator with weights."""

import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, operators

CHANNELS = 4
PER_CHANNEL = (CHANNELS, 1, 1)


def chain(*operators_, start="Conv", opset=17):
    """A network of operators in a row: "BN", or Mul, Add, Sub, Div by a constant; "c-" puts the constant first.

    Args:
        *operators_: one each; "Mul()" and "Mul(w)" have a scalar, and a vector along the width.
        start: "Conv", or "Sigmoid" for a tensor that nothing can be folded into.
    """
    network = Network(opset=opset)
    value, inputs = _start(network, start)
    for number, text in enumerate(operators_):
        output = "y" if number == len(operators_) - 1 else f"v{number}"
        if text == "BN":
            value = network.batch_norm(value, output, CHANNELS)
            continue
        op = text.removeprefix("c-").rstrip("()w")
        shape = {"()": (), "w)": (5,)}.get(text[-2:], PER_CHANNEL)
        operands = [value, network.weight(f"k{number}", *shape)]
        value = network.node(op, operands[::-1] if text.startswith("c-") else operands, output)
    return network.model(inputs, ["y"])


def _start(network, start):
    if start == "Conv":
        return network.node("Conv", ["x", network.weight("w", CHANNELS, 3, 1, 1)], "start"), {"x": (2, 3, 6, 5)}
    return network.node("Sigmoid", ["x"], "start"), {"x": (2, CHANNELS, 6, 5)}


@pytest.mark.parametrize(
    "operators_",
    [
        ("BN", "BN"),
        ("BN", "BN", "BN"),
        ("Mul", "Add", "BN"),
        ("c-Mul", "c-Add", "BN"),
        ("Sub", "Div", "Mul", "Add"),
        ("Sub", "Mul", "BN", "Mul", "Add"),
        ("Add", "Add", "c-Sub", "Add"),
        ("c-Sub", "c-Sub"),
        ("BN", "c-Sub", "BN"),
        ("BN", "Mul()", "Add()", "Div()", "Sub()"),
    ],
    ids=" ".join,
)
def test_everything_goes_into_a_convolution(operators_):
    folded = assert_folds_to(chain(*operators_), "Conv")
    assert len(folded.folds) == len(operators_)
    assert folded.kept == ()
    assert all(fold.into == ("start_node",) for fold in folded.folds)
    assert list(folded.model.graph.node[0].output) == ["y"]


@pytest.mark.parametrize(
    "operators_",
    [
        ("BN", "Mul", "Add"),
        ("BN", "c-Mul", "c-Add"),
        ("Mul", "Add", "BN"),
        ("Mul", "BN", "Add"),
        ("Add", "BN", "Mul"),
        ("BN", "BN"),
        ("c-Sub", "BN"),
        ("BN", "c-Sub"),
        ("Mul()", "BN", "Add()"),
    ],
    ids=" ".join,
)
def test_without_weights_one_batch_norm_is_left(operators_):
    folded = assert_folds_to(chain(*operators_, start="Sigmoid"), "Sigmoid", "BatchNormalization")
    assert len(folded.folds) == len(operators_) - 1
    (kept,) = folded.kept
    assert [refusal.reason for refusal in kept.refusals] == [Reason.NOT_LINEAR, Reason.GRAPH_OUTPUT]


def test_a_division_and_a_subtraction_take_both_parts_of_the_batch_norms_between_them():
    model = chain("Div", "Sub", "BN", "BN", "Sub", "Div", start="Sigmoid")
    folded = assert_folds_to(model, "Sigmoid", "Mul", "Sub")
    assert {entry.direction for entry in folded.folds if entry.is_batch_norm} == {"both", "downstream"}


@pytest.mark.parametrize("order", [("BN", "other"), ("other", "BN")], ids=" ".join)
@pytest.mark.parametrize("other", ["Mul", "Add", "c-Sub"])
def test_a_batch_norm_that_absorbs_keeps_its_own_epsilon(order, other):
    model = chain(*(other if name == "other" else name for name in order), start="Sigmoid")
    (batch_norm,) = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    batch_norm.attribute.append(helper.make_attribute("epsilon", 0.5))
    folded = assert_folds_to(model, "Sigmoid", "BatchNormalization")
    assert folded.model.graph.node[1].attribute == batch_norm.attribute


@pytest.mark.parametrize("op", ["Mul", "Add"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_operators_merge(op, count):
    assert_folds_to(chain(*[op] * count, start="Sigmoid"), "Sigmoid", op)


@pytest.mark.parametrize(
    ("operators_", "left"),
    [
        (("Mul", "Div"), ["Mul"]),
        (("Div", "Mul"), ["Mul"]),
        (("Div", "Div"), ["Mul"]),
        (("Add", "Sub"), ["Sub"]),
        (("Sub", "Add"), ["Add"]),
        (("c-Sub", "Add"), ["Sub"]),
        (("Add", "c-Sub"), ["Sub"]),
        (("Mul()", "Mul"), ["Mul"]),
        (("Mul", "Add"), ["Mul", "Add"]),
        (("Mul", "Add", "Add", "Mul"), ["Mul", "Add"]),
    ],
    ids=str,
)
def test_relatives_merge(operators_, left):
    folded = fold_and_compare(chain(*operators_, start="Sigmoid"))
    assert operators(folded.model) == ["Sigmoid", *left]


def test_an_operator_in_between_stays_and_is_named():
    """Over the width, the Mul is not the convolution's; the BatchNorms on either side fold without it."""
    folded = assert_folds_to(chain("BN", "Mul(w)", "BN"), "Conv", "Mul", "BatchNormalization")
    mul, batch_norm = folded.kept
    assert (mul.node, mul.refusals[0].reason, mul.refusals[0].path) == (
        "v1_node",
        Reason.WRONG_AXIS,
        ("v1_node", "start_node"),
    )
    assert (batch_norm.node, batch_norm.refusals[0].reason, batch_norm.refusals[0].path) == (
        "y_node",
        Reason.SHIFT_CANNOT_PASS,
        ("y_node", "v1_node"),
    )


@pytest.mark.parametrize("operators_", [("Mul", "Mul(w)"), ("Add(w)", "Add"), ("Sub", "Add(w)", "Sub")], ids=" ".join)
def test_constants_over_different_axes_stay_equal(operators_):
    folded = fold_and_compare(chain(*operators_, start="Sigmoid"))
    assert not folded.folds
    assert {refusal.reason for kept in folded.kept for refusal in kept.refusals} >= {Reason.PARAMETER_GROWS}


def test_a_scale_passes_an_addition_on_its_way_to_the_weights():
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, CHANNELS)], "product")
    network.node("Add", [network.weight("bias", CHANNELS), "product"], "sum")
    network.node("Mul", ["sum", network.weight("scale", CHANNELS)], "y")
    folded = assert_folds_to(network.model({"x": (2, 5, 3)}, ["y"]), "MatMul", "Add")
    (fold,) = folded.folds
    assert (fold.node, fold.into, fold.through) == ("y_node", ("product_node",), ("sum_node",))


@pytest.mark.parametrize("start", ["Conv", "Sigmoid"])
def test_two_branches_behind_one_tensor(start):
    """Another reader holds the tensor before the BatchNorm; behind it, all readers absorb or none."""
    network = Network()
    value, inputs = _start(network, start)
    network.batch_norm(value, "normal", CHANNELS)
    network.batch_norm("normal", "left", CHANNELS)
    network.batch_norm("normal", "right", CHANNELS)
    network.node("Relu", [value], "other")
    folded = fold_and_compare(network.model(inputs, ["left", "right", "other"]))
    assert operators(folded.model) == [start, "BatchNormalization", "BatchNormalization", "Relu"]
    (gone,) = folded.folds
    assert (gone.node, gone.direction, set(gone.into)) == ("normal_node", "downstream", {"left_node", "right_node"})


def test_one_of_two_readers_that_cannot_absorb_stops_both():
    network = Network()
    value, inputs = _start(network, "Sigmoid")
    network.batch_norm(value, "normal", CHANNELS)
    network.batch_norm("normal", "left", CHANNELS)
    network.node("Relu", ["normal"], "right")
    model = network.model(inputs, ["left", "right"])
    folded = fold_and_compare(model)
    assert operators(folded.model) == operators(model)
    assert folded.model.SerializeToString() == model.SerializeToString()
    reasons = [refusal.reason for refusal in folded.kept[0].refusals]
    assert reasons == [Reason.NOT_LINEAR, Reason.SHIFT_CANNOT_PASS]
