"""Products above rank 2 have no room for a bias: what a shift makes behind them goes into constants that are there."""

import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, operators

TOKENS = (2, 5, 4)


def in_front_of_products(count, *, added=None, batch_norm=True):
    """A map over the last axis in front of products, some of them with an addition behind."""
    network = Network()
    x = network.node("Sigmoid", ["x"], "s")
    if batch_norm:
        turned = network.node("Transpose", [x], "t", perm=[0, 2, 1])
        x = network.node("Transpose", [network.batch_norm(turned, "n", 4)], "back", perm=[0, 2, 1])
    else:
        x = network.node("Add", [x, network.weight("k", 4)], "a")
    results = []
    for number in range(count):
        value = network.node("MatMul", [x, network.weight(f"w{number}", 4, 3)], f"m{number}")
        if number in (range(count) if added is None else added):
            value = network.node("Add", [value, network.weight(f"b{number}", 3)], f"p{number}")
        results.append(network.node("Softmax", [value], f"y{number}"))
    return network.model({"x": TOKENS}, results)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_batch_norm_goes_into_the_products_and_the_additions_behind(count):
    model = in_front_of_products(count)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) - 1
    assert operators(folded.model).count("Add") == count


def test_an_addition_in_front_becomes_those_behind():
    folded = fold_and_compare(in_front_of_products(2, batch_norm=False))
    assert operators(folded.model).count("Add") == 2
    assert [entry.into for entry in folded.folds] == [("p0_node", "p1_node")]


def test_two_products_without_an_addition_behind_would_need_two():
    folded = fold(in_front_of_products(2, added=()))
    assert folded.reasons == [Reason.NOT_LINEAR]
    assert folded.kept[0].refusals[1].reason is Reason.NO_BIAS


@pytest.mark.parametrize("added", [(0,), (1,)])
def test_one_of_two_products_may_get_an_addition(added):
    model = in_front_of_products(2, added=added)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert operators(folded.model).count("Add") == 2


def test_two_of_three_products_may_not():
    folded = fold(in_front_of_products(3, added=(1,)))
    assert folded.batch_norms_left == 1
    evidence = "MatMul has no bias, and 2 nodes would cost as much as what goes"
    assert evidence in {refusal.evidence for refusal in folded.kept[0].refusals}


def test_an_addition_in_front_may_leave_none():
    folded = fold(in_front_of_products(2, added=(1,), batch_norm=False))
    assert folded.folds == ()


def test_one_product_without_an_addition_behind_gets_one_as_before():
    folded = fold_and_compare(in_front_of_products(1, added=()))
    assert operators(folded.model) == ["Sigmoid", "Transpose", "Transpose", "MatMul", "Add", "Softmax"]


def test_a_shift_passes_two_products_in_a_row():
    network = Network()
    turned = network.node("Transpose", [network.node("Sigmoid", ["x"], "s")], "t", perm=[0, 2, 1])
    x = network.node("Transpose", [network.batch_norm(turned, "n", 4)], "back", perm=[0, 2, 1])
    x = network.node("MatMul", [x, network.weight("w", 4, 6)], "m")
    x = network.node("MatMul", [x, network.weight("v", 6, 3)], "p")
    network.node("Add", [x, network.weight("b", 3)], "y")
    assert_folds_to(network.model({"x": TOKENS}, ["y"]), "Sigmoid", "Transpose", "Transpose", "MatMul", "MatMul", "Add")


def test_what_reads_the_product_beside_the_addition_makes_it_need_one_of_its_own():
    network = Network()
    turned = network.node("Transpose", [network.node("Sigmoid", ["x"], "s")], "t", perm=[0, 2, 1])
    x = network.node("Transpose", [network.batch_norm(turned, "n", 4)], "back", perm=[0, 2, 1])
    products = [network.node("MatMul", [x, network.weight(f"w{n}", 4, 3)], f"m{n}") for n in range(2)]
    for n, product in enumerate(products):
        network.node("Add", [product, network.weight(f"b{n}", 3)], f"y{n}")
    network.node("Softmax", [products[0]], "z")
    model = network.model({"x": TOKENS}, ["y0", "y1", "z"])
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert operators(folded.model).count("Add") == 3
