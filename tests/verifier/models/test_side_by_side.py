"""Lists of operators side by side, where folds have taken some out."""

from itertools import pairwise

import pytest

from bnfold.verifier.models.side_by_side import side_by_side

BLOCK = ["Conv", "BN", "Relu", "Conv", "BN", "Add"]


def without(labels: list[str], label: str) -> list[str]:
    return [other for other in labels if other != label]


def test_equal_lists_stand_side_by_side():
    assert list(side_by_side(BLOCK, BLOCK)) == [(place, place) for place in range(6)]


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_list_does_not_have_is_left_out(turned):
    long, short = BLOCK * 3, without(BLOCK, "BN") * 3
    kept = [place for place, label in enumerate(long) if label != "BN"]
    pairs = list(zip(kept, range(len(short)), strict=True))
    if turned:
        assert list(side_by_side(short, long)) == [(b, a) for a, b in pairs]
    else:
        assert list(side_by_side(long, short)) == pairs


def test_an_operator_that_has_become_another_one():
    assert list(side_by_side(["Conv", "BN", "Relu", "Add"], ["Conv", "Mul", "Relu", "Add"])) == [(0, 0), (2, 2), (3, 3)]


def test_one_operator_alone_that_both_have_between_others():
    ours, theirs = ["Conv", "BN", "Relu", "BN", "Add", "Relu"], ["Conv", "Relu", "Add", "Relu"]
    assert list(side_by_side(ours, theirs)) == [(0, 0), (2, 1), (4, 2), (5, 3)]


def test_pairs_are_equal_and_ascend_however_different_the_lists_are():
    ours, theirs = BLOCK * 2 + ["x"] * 60 + BLOCK, ["y"] * 50 + BLOCK * 4
    pairs = list(side_by_side(ours, theirs))
    assert all(ours[a] == theirs[b] for a, b in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


def test_a_network_of_many_blocks_is_no_more_work_for_each():
    """It would not end if all runs were looked for."""
    blocks = 5000
    assert len(list(side_by_side(BLOCK * blocks, without(BLOCK, "BN") * blocks))) == 4 * blocks


@pytest.mark.parametrize(("ours", "theirs"), [([], BLOCK), (BLOCK, []), ([], [])])
def test_an_empty_list(ours, theirs):
    assert list(side_by_side(ours, theirs)) == []
