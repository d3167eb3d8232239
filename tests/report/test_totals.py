"""The closing line on several models."""

from bnfold.report.model import Failure
from bnfold.report.text_totals import render_totals
from bnfold.verification import SKIPPED
from tests.reports import FAILED, fold, kept, report


def test_what_became_of_all_models():
    folded = report([fold("a"), fold("b")], [kept()])
    failed = report([fold("c")], output=None, verification=FAILED)
    broken = Failure("x.onnx", 3, "is empty")

    assert render_totals([folded, folded, failed], [broken], 83.2) == (
        "4 models in 83 s: BatchNorms 6 -> 2, 2 with the same results, 1 NOT the same, 1 without a result\n"
    )


def test_a_plan_says_what_would_be():
    planned = report([fold()], [kept()], planned=True, output=None, verification=SKIPPED)

    assert render_totals([planned] * 2, [], 0.25) == "2 models in 0.25 s: BatchNorms would go 4 -> 2\n"
