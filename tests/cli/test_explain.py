"""`bnfold explain`."""

from pathlib import Path

import pytest

from bnfold.cli.main import main
from bnfold.explanations import EXPLANATIONS
from bnfold.refusal import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "refusals.md").read_text(encoding="utf-8")


def explained(capsys, *codes):
    assert main(["explain", *codes]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize("code", ["BNF201", "bnf201", "201", "other-consumers"])
def test_a_code_is_found_by_what_people_call_it(capsys, code):
    assert explained(capsys, code).startswith(
        "BNF201 other-consumers: another node reads the tensor that would change\n"
    )


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_it_says_what_the_page_says(capsys, reason):
    said = " ".join(explained(capsys, reason.code).split())
    section = PAGE.split(f"### {reason.code}\n")[1].split("\n## ")[0].split("\n### ")[0]

    paragraphs = section.replace("```", "").replace("What you can do: ", "").strip().split("\n\n")
    for paragraph in paragraphs[1:]:
        for line in paragraph.strip().split("\n"):
            assert " ".join(line.removeprefix("before").removeprefix("after").split()) in said
    assert "What you can do" in said


def test_options_are_called_as_the_command_calls_them(capsys):
    assert "--assume-inference" in explained(capsys, "BNF001")
    assert "--on-mismatch revert" in explained(capsys, "BNF501")


def test_several_codes_are_explained_one_after_the_other(capsys):
    said = explained(capsys, "BNF201", "BNF202")

    assert said.index("BNF201 other-consumers") < said.index("\n\nBNF202 graph-output")


def test_without_a_code_all_are_listed(capsys):
    said = " ".join(explained(capsys).split())

    assert all(f"{reason.code} {reason.slug}: {reason.meaning}" in said for reason in Reason)


@pytest.mark.parametrize("columns", ["20", "50", "80", "200"])
def test_lines_keep_to_the_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)

    longest = max(map(len, explained(capsys, *(reason.code for reason in EXPLANATIONS)).splitlines()))
    assert longest <= min(max(int(columns), 40), 100)


@pytest.mark.parametrize(
    ("code", "near"), [("BNF210", "BNF209"), ("other-consumer", "other-consumers"), ("x", "BNF201")]
)
def test_an_unknown_code_is_one_line_with_what_may_be_meant(capsys, code, near):
    assert main(["explain", code]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"got {code!r}, expected a code such as" in printed.err
    assert near in printed.err
    assert "see bnfold explain --help" in printed.err


def test_a_word_of_a_name_brings_the_names_that_have_it(capsys):
    assert main(["explain", "other"]) == 2
    assert "expected a code such as other-branch, other-consumers:" in capsys.readouterr().err
