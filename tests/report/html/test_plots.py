"""Plots: values stand where they belong, however many there are and whatever they are."""

import math
import re

import pytest

from bnfold.report.html.plots import Marks, plot, shares

COLUMNS = 120


def heights(html, kind):
    path = html.partition(f'<path class="{kind}" d="')[2].partition('"')[0]
    return [tuple(map(float, pair)) for pair in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)]


def points(*values):
    return [None if value is None else (value, value) for value in values]


def labels(html):
    return re.findall(r"<span>([^<]*)</span>", html)


def test_decades_are_as_far_apart_as_their_labels():
    html = plot([Marks("error", "dot", points(1e-6, 1e-5, 1e-4, 10**-4.5))], "errors", COLUMNS)

    assert labels(html) == ["1e-4", "1e-5", "1e-6"]
    assert [high for high, _ in heights(html, "dot")] == [100, 50, 0, 25]


def test_a_limit_is_on_the_axis_even_where_no_value_is_near():
    html = plot([Marks("error", "dot", points(1e-4))], "errors", COLUMNS, (1.0, "limit"))

    assert labels(html)[0] == "1"
    assert '<path class="limit" d="M0 0.0H1"/>' in html


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_what_has_no_logarithm_stands_at_the_foot(value):
    html = plot([Marks("error", "dot", points(value, 1e-3, 1e-2))], "errors", COLUMNS)

    assert heights(html, "dot")[0] == (100, 100)


@pytest.mark.parametrize("values", [[], [None, None]])
def test_nothing_is_drawn_of_nothing(values):
    assert plot([Marks("error", "dot", values)], "errors", COLUMNS) == ""


@pytest.mark.parametrize("values", [[0.0], [1.0], [math.inf, 1.0], [1e-300, 1e300]])
def test_odd_values_are_drawn_all_the_same(values):
    html = plot([Marks("error", "dot", points(*values))], "errors", COLUMNS)

    assert "nan" not in html
    assert all(0 <= height <= 100 for pair in heights(html, "dot") for height in pair)
    assert len(labels(html)) <= 8


def test_of_many_values_the_extremes_are_kept():
    values = points(*([1e-3] * 4 * COLUMNS))
    values[7] = (1e-6, 1e-6)
    values[9] = None

    found = heights(plot([Marks("error", "dot", values)], "errors", COLUMNS), "dot")

    assert len(found) == COLUMNS
    assert found[1] == (100, 0)
    assert set(found) - {found[1]} == {(0, 0)}


def test_shares_are_bars_and_none_is_no_bar():
    html = shares("zero", [0.0, 1.0, 0.5, 0.001], "share of zero scales", COLUMNS)

    assert re.findall(r"M([\d.]+) 100V([\d.]+)", html) == [("1.5", "0.0"), ("2.5", "50.0"), ("3.5", "94.0")]
    assert shares("zero", [0.0, 0.0], "share", COLUMNS) == ""
