"""What keeps a pipeline from going on: --fail-on-kept, --max-kept and --allow-kept."""

import pytest
from click.testing import CliRunner

from bnfold.cli.fold_command import fold_command
from bnfold.cli.gate import Gate
from tests.reports import fold, kept, report

MADE = report([fold("a")], [kept("head.bn1"), kept("head.bn2"), kept("tail"), kept("scale", op="Mul")])


def gate(*arguments):
    result = CliRunner().invoke(fold_command, ["m.onnx", *arguments], standalone_mode=False)
    return Gate.of(result.return_value)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--fail-on-kept"], "--fail-on-kept: 3 of 4 BatchNorms stay"),
        (["--max-kept", "2"], "--max-kept 2: 3 of 4 BatchNorms stay"),
        (["--max-kept", "3"], ""),
        (["--max-kept", "3", "--fail-on-kept"], ""),
        (["--max-kept", "0"], "--max-kept 0: 3 of 4 BatchNorms stay"),
        (["--allow-kept", "head.*"], "--allow-kept: 3 of 4 BatchNorms stay, 2 of them allowed"),
        (["--allow-kept", "head.*", "--allow-kept", "tail"], ""),
        (["--allow-kept", "head.*", "--max-kept", "1"], ""),
        (["--allow-kept", "HEAD.*", "--max-kept", "2"], "--max-kept 2: 3 of 4 BatchNorms stay"),
        (["--allow-kept", "head.bn1", "--max-kept", "1"], "--max-kept 1: 3 of 4 BatchNorms stay, 1 of them allowed"),
    ],
)
def test_what_a_model_has_to_pass(arguments, refusal):
    assert gate(*arguments).refusal(MADE) == refusal


def test_nothing_is_asked_where_no_option_is_given():
    assert gate() is None


def test_a_model_of_which_everything_folds_passes():
    assert gate("--allow-kept", "x").refusal(report([fold()], [kept("m", op="Mul")])) == ""


def test_patterns_that_allow_nothing_are_found():
    asked = gate("--allow-kept", "head.*", "--allow-kept", "scale", "--allow-kept", "typo")

    assert asked.unmatched([MADE, report()]) == ["scale", "typo"]
    assert asked.unmatched([report([], [kept("typo")])]) == ["head.*", "scale"]
