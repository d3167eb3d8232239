"""The help of every command: short to look through, and true."""

import pytest

from bnfold.cli.main import main
from bnfold.verifier import VerifyOptions


def helped(capsys, *arguments):
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def test_both_names_of_the_option_give_the_same(capsys):
    assert helped(capsys, "-h") == helped(capsys, "--help")


@pytest.mark.parametrize("columns", [64, 80, 200])
@pytest.mark.parametrize("command", [(), ("verify",), ("explain",)])
def test_lines_fit_a_terminal(capsys, monkeypatch, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, helped(capsys, *command, "--help").splitlines())) <= min(columns, 100)


def test_options_stand_in_groups(capsys):
    lines = helped(capsys, "-h").splitlines()

    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings[:3] == ["Results:", "What is folded:", "The check:"]
    assert headings[-7:-3] == ["In a pipeline:", "Configuration:", "What is printed:", "Others:"]
    assert headings[-3:] == ["Other commands:", "Exit status:", "Examples:"]
    places = {
        name: next(i for i, line in enumerate(lines) if line.startswith(f"  {name}"))
        for name in (
            "-o, --output OUT",
            "--exclude",
            "--samples",
            "--memory-limit",
            "--fail-on-kept",
            "-v, --verbose",
            "--version",
        )
    }
    assert sorted(places, key=places.__getitem__) == list(places)


def test_every_option_is_there_once(capsys):
    from bnfold.cli.fold_command import fold_command

    text = helped(capsys, "-h")
    for parameter in fold_command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            if name.startswith("--"):
                assert f"  {name}" in text or f", {name}" in text or f" / {name}" in text


def test_defaults_are_true(capsys):
    for command in ((), ("verify",)):
        out = helped(capsys, *command, "-h")
        assert f"[default: {VerifyOptions().samples}]" in out
        assert f"[default: {VerifyOptions().seed}]" in out
        assert "Exit status" in out


def test_other_commands_are_named(capsys):
    out = helped(capsys, "-h")

    assert "bnfold explain CODE" in out
    assert "bnfold verify A B" in out
    assert helped(capsys, "verify", "-h").startswith("Usage: bnfold verify [OPTIONS] A B\n")
    assert helped(capsys, "explain", "-h").startswith("Usage: bnfold explain [OPTIONS] [CODE...]\n")
