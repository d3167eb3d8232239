"""MatMul with a constant on the right: the output channels are on the last axis, wherever that is."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, initializer_shapes, operators

INNER, COLUMNS = 3, 4
LEFT = {1: (INNER,), 2: (5, INNER), 3: (2, 5, INNER), 4: (2, 1, 5, INNER)}
EVERY_RANK = pytest.mark.parametrize("rank", LEFT)


def mat_mul_network(*nodes):
    """MatMul and then nodes (operator, constant first, shape of the constant), of which the last one makes y."""
    network = Network()
    value = network.node("MatMul", ["x", network.weight("weight", INNER, COLUMNS)], "product")
    for number, (op, constant_first, shape) in enumerate(nodes):
        operands = [value, network.weight(f"constant{number}", *shape)]
        output = "y" if number == len(nodes) - 1 else f"value{number}"
        value = network.node(op, operands[::-1] if constant_first else operands, output)
    return network


@EVERY_RANK
@pytest.mark.parametrize("op", ["Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (COLUMNS,)], ids=str)
def test_scales_along_the_last_axis(rank, op, shape):
    folded = assert_folds_to(mat_mul_network((op, False, shape)).model({"x": LEFT[rank]}, ["y"]), "MatMul")
    assert initializer_shapes(folded.model) == {"weight": (INNER, COLUMNS)}
    assert list(folded.model.graph.node[0].output) == ["y"]


@EVERY_RANK
@pytest.mark.parametrize("constant_first", [False, True])
@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_bias_stays_an_add_or_becomes_a_gemm(rank, constant_first, op):
    """An Add is the cheapest bias a MatMul can have, except where a Gemm can take its place."""
    model = mat_mul_network((op, constant_first, (COLUMNS,))).model({"x": LEFT[rank]}, ["y"])
    assert_folds_to(model, *(["Gemm"] if rank == 2 else ["MatMul", op]))


@EVERY_RANK
@pytest.mark.parametrize("constant_first", [False, True])
def test_affine_nodes_merge_into_weight_and_bias(rank, constant_first):
    nodes = [("Mul", constant_first, (COLUMNS,)), ("Add", constant_first, (COLUMNS,)), ("Mul", constant_first, ())]
    nodes += [("Sub", constant_first, (COLUMNS,)), ("Div", False, (COLUMNS,))]
    folded = fold_and_compare(mat_mul_network(*nodes).model({"x": LEFT[rank]}, ["y"]))
    left = operators(folded.model)
    assert left == ["Gemm"] if rank == 2 else left in (["MatMul", "Add"], ["MatMul", "Sub"])


@pytest.mark.parametrize("constant_first", [None, False, True], ids=["no bias", "x + c", "c + x"])
@pytest.mark.parametrize("shape", [(), (1,), (COLUMNS,), (1, COLUMNS)], ids=str)
def test_rank_2_becomes_gemm(constant_first, shape):
    network = mat_mul_network(*([] if constant_first is None else [("Add", constant_first, shape)]))
    network.batch_norm("product" if constant_first is None else "y", "z", COLUMNS)
    folded = assert_folds_to(network.model({"x": LEFT[2]}, ["z"]), "Gemm")
    assert initializer_shapes(folded.model) == {"weight": (INNER, COLUMNS), "bias": (COLUMNS,)}
    (gemm,) = folded.model.graph.node
    assert (list(gemm.output), gemm.name) == (["z"], "product_node")
    assert not gemm.attribute


def test_a_symbolic_number_of_rows_becomes_gemm_too():
    network = mat_mul_network()
    network.batch_norm("product", "y", COLUMNS)
    assert_folds_to(network.model({"x": ("rows", INNER)}, ["y"]), "Gemm")


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("nodes", [[], [("Add", False, (COLUMNS,))], [("Add", True, (COLUMNS,))]], ids=len)
@pytest.mark.parametrize("channels", [5, COLUMNS], ids=["C != L", "C == L"])
def test_a_batch_norm_over_the_rows_is_refused(rank, nodes, channels):
    """Rank 3 and 4: axis 1 is not the last one, not even where both have the same length."""
    left = (2, channels, INNER) if rank == 3 else (2, channels, 3, INNER)
    network = mat_mul_network(*nodes)
    network.batch_norm("y" if nodes else "product", "z", channels)
    folded = assert_stays(
        network.model({"x": left}, ["z"]),
        Reason.WRONG_AXIS,
        f"the map varies along axis 1, the output channels are on axis {rank - 1}",
    )
    (kept,) = (entry for entry in folded.kept if entry.is_batch_norm)
    assert kept.refusals[0].path == ("z_node", *(["y_node"] if nodes else []), "product_node")


def test_a_batch_norm_with_one_channel_folds_at_any_rank():
    """One channel is one number for all rows and columns."""
    network = mat_mul_network()
    network.batch_norm("product", "y", 1)
    folded = assert_folds_to(network.model({"x": (2, 1, INNER)}, ["y"]), "MatMul", "Add")
    assert [list(node.output) for node in folded.model.graph.node][1] == ["y"]


def test_what_comes_later_goes_into_the_add_that_a_fold_put_there():
    network = mat_mul_network()
    network.batch_norm("product", "a", 1)
    network.batch_norm("a", "b", 1)
    network.node("Mul", ["b", network.weight("scale", COLUMNS)], "c")
    network.node("Sub", [network.weight("bias", COLUMNS), "c"], "y")
    folded = assert_folds_to(network.model({"x": (2, 1, INNER)}, ["y"]), "MatMul", "Add")
    assert (len(folded.folds), folded.kept) == (4, ())


@pytest.mark.parametrize("shape", [(5, 1), (1, 5, 1), (2, 1, 1), (5, COLUMNS)], ids=str)
def test_a_constant_over_the_rows_is_refused(shape):
    folded = assert_folds_to(mat_mul_network(("Mul", False, shape)).model({"x": LEFT[3]}, ["y"]), "MatMul", "Mul")
    (kept,) = folded.kept
    assert kept.refusals[0].reason is Reason.WRONG_AXIS


@pytest.mark.parametrize("shape", [(INNER,), (2, INNER, COLUMNS)], ids=str)
def test_only_a_right_hand_side_of_rank_2_folds(shape):
    network = Network()
    network.node("MatMul", ["x", network.weight("weight", *shape)], "product")
    network.node("Mul", ["product", network.weight("constant")], "y")
    folded = assert_folds_to(network.model({"x": LEFT[3]}, ["y"]), "MatMul", "Mul")
    expected = f"MatMul has a constant of shape {shape}, only rank 2 folds"
    assert folded.kept[0].refusals[0].evidence == expected


def test_a_constant_on_the_left_makes_rows_and_the_batch_norm_acts_on_columns():
    network = Network()
    network.node("MatMul", [network.weight("weight", 5, INNER), "x"], "product")
    network.batch_norm("product", "y", COLUMNS)
    evidence = "the map varies along axis 1, the output channels are on axis 0"
    assert_stays(network.model({"x": (INNER, COLUMNS)}, ["y"]), Reason.WRONG_AXIS, evidence)


def test_an_unknown_rank_is_refused():
    network = Network()
    network.node("Mystery", ["x"], "m", domain="elsewhere")
    network.node("MatMul", ["m", network.weight("weight", INNER, COLUMNS)], "product")
    network.batch_norm("product", "y", COLUMNS)
    model = network.model({"x": LEFT[2]}, {"y": (5, COLUMNS)}, domains={"elsewhere": 1})
    assert_stays(model, Reason.UNKNOWN_SHAPE, "the rank of 'product' is not known before run time")
