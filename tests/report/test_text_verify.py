"""The verdict on two models, for people."""

import pytest

from bnfold.report.text_verify import render_verification
from bnfold.verification import OutputCheck, Verification
from tests.report.test_text import MEASURED


def test_the_answer_is_all_that_is_said():
    assert render_verification(MEASURED, "a.onnx", "b.onnx").split("\n") == [
        "b.onnx against a.onnx",
        "",
        "  Same results  yes  6 inputs; largest difference 4.1e-07 (rounding: 1.9e-07)",
        "                     2 changes checked one by one, all within rounding",
        "                     equal with onnxruntime's optimisations on (CPU), too",
        "",
    ]


def test_figures_are_there_where_somebody_asks():
    assert "Check of 6 inputs, seed 0" in render_verification(MEASURED, "a.onnx", "b.onnx", verbose=True)


@pytest.mark.parametrize("width", [40, 50, 80, 120, 200])
def test_lines_keep_to_the_width_and_names_are_harmless(width):
    bad = "[red]\x1b[2J\n" + "layer/" * 30
    wrong = Verification("failed", 3, 7, (OutputCheck(bad, 1.0, 1.0, False, bad),), problem=bad)

    text = render_verification(wrong, bad, bad, width=width, color=False, verbose=True)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "NO" in text
