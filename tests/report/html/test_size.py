"""A page of 5,000 BatchNorms is no larger than 2 MB, however they came there."""

import pytest

from bnfold.label import Label
from bnfold.report.html import render_html
from tests.report.html.large import folded, large_report, name
from tests.reports import merge, report

LIMIT = 2_000_000


def branches(count):
    """A network of blocks of three branches each."""
    merges = [merge(name(index, "add/Add"), name(index, "conv3x3/Conv")) for index in range(0, count, 3)]
    folds = [folded(index, "branch" if index % 3 == 2 else "upstream") for index in range(count)]
    return report(folds, merges=merges)


@pytest.mark.parametrize(
    "reports",
    [
        lambda: [large_report(5000, 0)],
        lambda: [large_report(0, 5000)],
        lambda: [large_report(2500, 2500)],
        lambda: [large_report(125, 125) for _ in range(20)],
        lambda: [branches(5000)],
    ],
    ids=["folded", "left", "both", "models", "branches"],
)
def test_thousands_fit_and_none_is_left_out(reports):
    html = render_html(reports())

    assert len(html.encode()) <= LIMIT
    assert html.count('<details class="row') == 5000


def test_a_name_of_many_characters_is_whole_in_its_row_and_short_in_drawings():
    label = Label("n" * 3000, "Conv")
    html = render_html([report([folded(0)], input="x" * 100), report([folded(0)])])
    longer = render_html([report([folded(0).__class__(**{**vars(folded(0)), "into": (label,)})]), report([folded(0)])])

    assert label in longer
    assert len(longer) - len(html) < 4 * len(label)
