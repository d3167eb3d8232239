"""What bash, zsh and fish offer behind `bnfold`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnfold.cli.completion import VARIABLE
from bnfold.cli.main import main

SHELLS = ["bash", "zsh", "fish"]


@pytest.fixture
def ask(monkeypatch, capsys):
    """The answer to a shell in which a line is typed, as (kind, value) each: a blank at its end begins a new word."""

    def answer(shell, line):
        words = line.split(" ")
        monkeypatch.setenv(VARIABLE, f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(words if shell != "fish" else words[:-1]))
        monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
        assert main([]) == 0
        lines = capsys.readouterr().out.strip("\n").splitlines()
        if shell == "zsh":
            return list(zip(lines[::3], lines[1::3], strict=True))
        if shell == "fish":
            return [tuple(line.split("\t")[0].split(",", 1)) for line in lines]
        return [tuple(line.split(",", 1)) for line in lines]

    return answer


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("bnfold e", ["explain"]),
        ("bnfold m.onnx --fail", ["--fail-on-kept"]),
        ("bnfold m.onnx --same", []),
        ("bnfold m.onnx --lower ", ["conv", "affine", "add"]),
        ("bnfold explain BNF00", [f"BNF00{digit}" for digit in range(1, 10)]),
        ("bnfold explain bnf001", ["BNF001"]),
        ("bnfold explain BNF201 other-", ["other-branch", "other-consumers"]),
        ("bnfold explain nothing-such", []),
        ("bnfold verify a.onnx b.onnx --same", ["--same-names"]),
        ("bnfold verify a.onnx b.onnx --dry", []),
        ("bnfold m.onnx explain", []),
        ("bnfold --no-config --config x.toml m.onnx --fail", ["--fail-on-kept"]),
    ],
)
def test_words_that_fit(ask, shell, typed, offered):
    assert [value for kind, value in ask(shell, typed) if kind == "plain"] == offered


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("bnfold ", "file"),
        ("bnfold m.onnx ", "file"),
        ("bnfold m.onnx -o ", "file"),
        ("bnfold m.onnx --report ", "file"),
        ("bnfold m.onnx --save-repro ", "dir"),
        ("bnfold verify ", "file"),
        ("bnfold verify a.onnx ", "file"),
        ("bnfold verify a.onnx --config ", "file"),
        ("bnfold explain ", None),
        ("bnfold verify a.onnx b.onnx ", None),
    ],
)
def test_paths_are_the_shells(ask, shell, typed, kind):
    assert [of for of, _ in ask(shell, typed) if of != "plain"] == ([kind] if kind else [])


def test_commands_and_models_begin_a_line(ask):
    assert [value for kind, value in ask("zsh", "bnfold ") if kind == "plain"] == ["explain", "verify"]


@pytest.mark.parametrize("asked", ["", "bash", "bash_", "tcsh_source", "bash_write"])
def test_what_no_shell_asks_is_an_error(monkeypatch, capsys, asked):
    monkeypatch.setenv(VARIABLE, asked)

    assert main([]) == 2
    assert f"got {VARIABLE}={asked}, expected bash_source, zsh_source or fish_source" in capsys.readouterr().err


@pytest.fixture
def place(tmp_path):
    """A folder with models to complete, and the environment of a shell that finds bnfold."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bnfold").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bnfold "$@"\n')
    (tmp_path / "bin" / "bnfold").chmod(0o755)
    desk = tmp_path / "desk"
    (desk / "earlier models").mkdir(parents=True)
    for name in ("example.onnx", "m.onnx"):
        (desk / name).touch()
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return desk, environment


def said_by(place, *command):
    desk, environment = place
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout.splitlines()


@pytest.mark.skipif(os.name == "nt", reason="bash there has no POSIX paths")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["bnfold", "e"], ["explain", "earlier models", "example.onnx"]),
        (["bnfold", "explain", "BNF00"], [f"BNF00{digit}" for digit in range(1, 10)]),
        (["bnfold", "verify", "a", "b", "--sam"], ["--same-names", "--samples"]),
    ],
)
def test_bash(place, words, offered):
    typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
    run = f'source <(_BNFOLD_COMPLETE=bash_source bnfold) && {typed} && _bnfold_completion bnfold; printf "%s\\n" '
    assert sorted(said_by(place, "bash", "-c", run + '"${COMPREPLY[@]}"')) == sorted(offered)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish on this machine")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("bnfold e", {"explain", "example.onnx", "earlier models/"}),
        ("bnfold explain BNF00", {f"BNF00{digit}" for digit in range(1, 10)}),
    ],
)
def test_fish(place, typed, offered):
    run = f'_BNFOLD_COMPLETE=fish_source bnfold | source; complete -C "{typed}"'
    assert {line.split("\t")[0] for line in said_by(place, "fish", "--no-config", "-c", run)} == offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh on this machine")
def test_zsh_takes_the_script(place):
    run = 'autoload -U compinit; compinit -D -u; eval "$(_BNFOLD_COMPLETE=zsh_source bnfold)"; print $_comps[bnfold]'
    assert said_by(place, "zsh", "-f", "-c", run) == ["_bnfold_completion"]
