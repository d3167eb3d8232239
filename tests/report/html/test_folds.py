"""Rows and drawings: what moved where, what forbids it, and which fold failed."""

from dataclasses import replace

import pytest

from bnfold.label import Label
from bnfold.outcome import Fold
from bnfold.refusal import Reason
from bnfold.report.html import render_html
from bnfold.report.html.chains import draw
from bnfold.report.html.drawings import before_and_after, before_and_lowered, closed_ways
from bnfold.report.html.entries import FATES, Subject
from bnfold.verification import TensorCheck, Verification
from tests.report.html.large import LOWERED, folded, large_report, left
from tests.report.html.test_page import Page
from tests.reports import fold, kept, refusal, report

CONV, POOL, RELU, GEMM = (Label(op.lower(), op) for op in ("Conv", "MaxPool", "Relu", "Gemm"))


def drawn(chain):
    return [(box.operator, box.role) for box in chain.boxes]


def test_upstream_the_map_goes_into_what_is_in_front():
    before, after = before_and_after(replace(folded(0), through=(RELU, POOL)))

    assert drawn(before) == [
        ("Conv", "takes"),
        ("MaxPool", "plain"),
        ("Relu", "plain"),
        ("BatchNorm", "gone"),
        ("Relu", "plain"),
    ]
    assert before.moves == [(3, 0, "scale, shift")]
    assert drawn(after) == [("Conv", "new"), ("MaxPool", "plain"), ("Relu", "plain"), ("Relu", "plain")]


def test_downstream_it_goes_into_what_is_behind():
    before, after = before_and_after(replace(folded(0), direction="downstream", into=(GEMM,), through=(RELU,)))

    assert drawn(before) == [("Conv", "plain"), ("BatchNorm", "gone"), ("Relu", "plain"), ("Gemm", "takes")]
    assert before.moves == [(1, 3, "scale, shift")]
    assert drawn(after)[-1] == ("Gemm", "new")


def test_both_ways_scale_and_shift_part():
    before, after = before_and_after(replace(folded(0), direction="both", into=(CONV, GEMM)))

    assert [move[1:] for move in before.moves] == [(0, "scale"), (2, "shift")]
    assert drawn(after) == [("Conv", "new"), ("Gemm", "new")]


@pytest.mark.parametrize("direction", ["removed", "computed", "across", "merged", "branch"])
def test_what_is_gone_is_gone(direction):
    before, after = before_and_after(replace(folded(0), direction=direction))

    assert [role for _, role in drawn(before)].count("gone") == 1
    assert "gone" not in [role for _, role in drawn(after)]


@pytest.mark.parametrize("direction", ["upstream", "downstream", "both", "merged", "branch", "removed", "across"])
def test_a_fold_of_which_little_is_known_is_drawn_all_the_same(direction):
    for into in ((), ("a",), ("a", "b")):
        for chain in before_and_after(fold(direction=direction, into=into)):
            assert draw(chain).startswith("<svg")


def test_what_stands_for_a_lowered_node_stands_in_its_place():
    before, after = before_and_lowered(LOWERED)

    assert drawn(before) == [("Conv", "plain"), ("BatchNorm", "gone"), ("Relu", "plain")]
    assert drawn(after) == [("Conv", "plain"), ("Mul", "new"), ("Add", "new"), ("Relu", "plain")]


def test_lowered_nodes_are_neither_folded_nor_left():
    html = render_html([report([folded(2)], [left(4)], lowered=[LOWERED])])

    assert "1 of 3 BatchNorms folded, 1 lowered, 1 left" in html
    assert html.count('<details class="row lowered"') == 1


def test_long_ways_are_cut_short():
    before, _ = before_and_after(replace(folded(0), through=(RELU,) * 7))

    assert [operator for operator, _ in drawn(before)] == ["Conv", "Relu", "5 more", "Relu", "BatchNorm", "Relu"]


def test_the_reader_that_forbids_it_is_marked_beside_the_way():
    chain = closed_ways(left(0))

    assert drawn(chain) == [("Conv", "plain"), ("Concat", "plain"), ("BatchNorm", "plain"), ("Relu", "stops")]
    assert {index: (box.operator, box.role) for index, box in chain.asides.items()} == {0: ("Concat", "stops")}
    assert "\u2298" in draw(chain)


@pytest.mark.parametrize(
    ("reason", "path", "expected"),
    [
        (Reason.GRAPH_INPUT, ("bn",), [("graph input", "stops"), ("BatchNorm", "plain")]),
        (Reason.GRAPH_INPUT, ("bn", RELU), [("graph input", "stops"), ("Relu", "plain"), ("BatchNorm", "plain")]),
        (Reason.NOT_LINEAR, ("bn", RELU), [("Relu", "stops"), ("BatchNorm", "plain")]),
        (Reason.GRAPH_OUTPUT, ("bn", CONV), [("Conv", "plain"), ("BatchNorm", "plain")]),
    ],
)
def test_the_end_of_a_way_is_marked(reason, path, expected):
    chain = closed_ways(kept("bn", replace(refusal(reason, path=path), way="upstream")))

    assert drawn(chain) == expected
    assert (chain.asides != {}) is (reason is Reason.GRAPH_OUTPUT)


def test_a_node_that_forbids_itself_is_marked():
    assert drawn(closed_ways(kept("bn", refusal(Reason.TRAINING_MODE, path=("bn",))))) == [("BatchNorm", "stops")]


def test_entries_stand_in_the_order_of_the_graph_with_their_fates():
    nodes = [folded(0, number=4), folded(1, "removed", 0), folded(2, "branch", 2), folded(3, number=1)]
    check = Verification(
        "failed", 1, 0, tensors=(TensorCheck(nodes[3].tensor, frozenset(), 1.0, 0, False, problem="differs"),)
    )
    lowered = [replace(LOWERED, number=5)]
    subject = Subject(report(nodes, [replace(left(5), number=3)], lowered=lowered, verification=check))

    assert [entry.fate.kind for entry in subject.entries] == [
        "removed",
        "failed",
        "merged",
        "kept",
        "folded",
        "lowered",
    ]
    assert {entry.fate for entry in subject.entries} == set(FATES)


def test_a_failed_check_says_which_fold_failed():
    made = large_report(5, 1)
    bad = made.outcome.folds[3]
    tensors = [
        replace(check, passed=check.name != bad.tensor, problem="channel 3 differs")
        for check in made.verification.tensors
    ]
    failed = replace(
        made, output=None, verification=replace(made.verification, status="failed", tensors=tuple(tensors))
    )

    html = render_html([failed])
    page = Page(html)
    (row,) = (value for value in page.all("class") if value == "row failed")
    answer = html[: html.index("strip large")]

    assert row
    assert "1 fold failed" in answer
    assert bad.node in answer
    assert "channel 3 differs" in answer
    assert all(fold.node not in answer for fold in made.outcome.folds if fold is not bad)


def test_two_nodes_of_one_name_have_checks_of_their_own():
    first, second = (replace(folded(index), node="bn") for index in (0, 1))
    tensors = (
        TensorCheck(first.tensor, frozenset(), 1.0, 0, False, problem="differs"),
        TensorCheck(second.tensor, frozenset(), 1e-7, 0, True),
    )
    made = report([first, second], verification=Verification("failed", 1, 0, tensors=tensors))

    assert [entry.fate.kind for entry in Subject(made).entries] == ["failed", "folded"]


def test_what_failed_stands_open_and_the_rest_is_folded_away():
    made = large_report(5, 1)
    assert '<details class="group" open>' not in render_html([made])
    tensors = (replace(made.verification.tensors[0], passed=False), *made.verification.tensors[1:])
    failed = replace(made, verification=replace(made.verification, status="failed", tensors=tensors))
    assert render_html([failed]).count('<details class="group" open>') == 1


def test_groups_are_those_that_look_alike():
    made = report([folded(0), folded(1), replace(folded(2), into=(GEMM,))], [left(3), left(4)])

    assert render_html([made]).count('<details class="group"') == 3


def test_a_fold_is_a_fold_whatever_it_was_called():
    made = Fold(
        Label("n", "aten::batch_norm"), "aten::batch_norm", True, "t", "upstream", (Label("c", "aten::conv2d"),), (), 1
    )

    assert drawn(before_and_after(made)[0]) == [("conv2d", "takes"), ("batch_norm", "gone")]
