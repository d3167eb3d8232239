"""What GitHub's runners are told."""

from dataclasses import replace

import pytest

from bnfold.cli.annotations import annotation, are_wanted, of_kept
from bnfold.refusal import Reason
from tests.report.test_text import from_both_sides
from tests.reports import fold, kept, refusal, report


@pytest.mark.parametrize(
    ("variable", "asked", "wanted"),
    [("true", None, True), ("", None, False), (None, None, False), ("true", False, False), (None, True, True)],
)
def test_runners_are_known_by_their_variable(monkeypatch, variable, asked, wanted):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    if variable is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", variable)

    assert are_wanted(asked) is wanted


def test_what_would_end_a_command_or_begin_another_is_escaped():
    line = annotation("error", "a,b:c\n.onnx", "50%", "100% wrong\n::error::not ours\r\x1b[2J")

    assert line == (r"::error file=a%2Cb%3Ac\n.onnx,title=50%25::100%25 wrong ::error::not ours \x1b[2J" + "\n")


def test_what_stays_with_one_verdict_is_one_annotation():
    training = kept("t", refusal(Reason.TRAINING_MODE, "training_mode is 1", ("t",)))
    made = report([fold()], [*(from_both_sides(f"bn{index}", across=False) for index in range(3)), training])

    assert list(of_kept(replace(made, input="m.onnx"))) == [
        (
            "::warning file=m.onnx,title=1 BatchNorm stays::can be folded if you export after model.eval(), or give "
            "assume_inference=True: t: it computes as in training (BNF001)\n"
        ),
        (
            "::notice file=m.onnx,title=3 BatchNorms stay::cannot be folded by any rewrite of this file: "
            "bn0 and 2 more: others read what Conv makes (BNF201); a shift cannot pass Relu (BNF103)\n"
        ),
    ]


def test_a_model_of_which_everything_folds_has_none():
    assert list(of_kept(report([fold()]))) == []
