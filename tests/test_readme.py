"""What the README says that commands print, and the code in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.networks import Network

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(start):
    (found,) = (text for _, text in BLOCKS if text.startswith(start))
    return found


def without_measures(text):
    """Times and rounding errors are those of one machine."""
    text = re.sub(r"\d+(\.\d+)?e[-+]\d+", "#", text)
    text = re.sub(r"\d+(\.\d+)?( s|x)", "#", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.folded.onnx"))
    return tmp_path


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr == ""
    return done.stdout


def test_try_it(checkout):
    printed = run(checkout, "-m", "bnfold", "examples/digits_cnn.onnx")
    expected = block("$ bnfold examples/digits_cnn.onnx\n").partition("\n")[2]
    assert without_measures(printed) == without_measures(expected)
    compared = run(checkout, "examples/check_digits.py")
    expected = block("$ python examples/check_digits.py\n").partition("\n")[2]
    assert without_measures(compared) == without_measures(expected)
    assert re.findall(r"accuracy ([\d.]+)", compared) == re.findall(r"accuracy ([\d.]+)", expected)


def test_the_code(tmp_path, monkeypatch, capsys):
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c"), "n", 4)
    network.batch_norm(network.node("Sigmoid", ["n"], "s"), "y", 4)
    model = network.model({"x": [2, 3, 5, 5]}, ["y"])
    for name in ("model.onnx", "other.onnx"):
        onnx.save(model, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (code,) = (text for language, text in BLOCKS if language == "python")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0] == "1 folded"
