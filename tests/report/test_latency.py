"""What reports say of latency."""

from dataclasses import replace

import pytest

from bnfold.report.json import to_dict
from bnfold.report.text import render_text
from bnfold.report.wording import three_digits
from bnfold.timings import Spread
from tests.reports import LATENCIES, report


def test_nothing_is_said_where_nobody_asked():
    assert "Latency" not in render_text(report())
    assert to_dict(report())["latencies"] == []


def test_the_summary_has_medians_and_spread():
    text = render_text(report(latencies=LATENCIES))
    assert "  Latency       3.08 ms -> 1.75 ms  1.76 times as fast (1.70 to 1.81)\n" in text
    assert "                  onnxruntime (CPU), level all, 1 thread, 200 runs\n" in text
    assert "                not measured: no such <operator>\n" in text
    assert "                  torch (cuda), CUDA graph\n" in text


def test_what_cannot_be_told_is_not_called_faster():
    near = replace(LATENCIES[0], speedup=Spread(0.98, 1.02, 1.05))
    assert "  as fast (0.98 to 1.05)\n" in render_text(report(latencies=(near,)))


def test_small_numbers_are_microseconds():
    quick = replace(LATENCIES[0], original=Spread(1e-5, 4.27e-5, 1e-4), folded=Spread(1e-5, 4.19e-5, 1e-4))
    assert "42.7 us -> 41.9 us" in render_text(report(latencies=(quick,)))


def test_json_has_seconds_and_the_reason_where_there_are_none():
    measured, failed = to_dict(report(latencies=LATENCIES))["latencies"]
    assert measured["original"] == {"low": 3.0e-3, "median": 3.08e-3, "high": 3.2e-3}
    assert (measured["runtime"], measured["setting"], measured["threads"], measured["runs"]) == (
        "onnxruntime",
        "all",
        1,
        200,
    )
    assert (failed["original"], failed["speedup"], failed["problem"]) == (None, None, "no such <operator>")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.7, "1.70"), (43.4, "43.4"), (100.0, "100"), (0.0224, "0.0224"), (9.999, "10.0"), (0, "0.00")],
)
def test_figures_that_stand_side_by_side_have_as_many_digits(value, shown):
    assert three_digits(value) == shown
