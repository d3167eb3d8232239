"""The page on the Python API: its code runs, a result shows as it says, and everything that is offered is on it."""

import doctest
import re
import shutil
from pathlib import Path

import pytest

import bnfold

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    shutil.copyfile(ROOT / "examples" / "digits_cnn.onnx", tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    names = {}
    exec(compile(code, "api.md", "exec"), names)
    assert f"```\n{names['result']!r}\n```" in PAGE
    assert "BatchNorms" in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("name", ["fold", "explain", "fold_file", "verify"])
def test_the_examples_say_what_they_print(tmp_path, monkeypatch, name):
    shutil.copyfile(ROOT / "examples" / "digits_cnn.onnx", tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(bnfold, name), name, globs={"bnfold": bnfold})
    assert found.examples
    said = []
    doctest.DocTestRunner().run(found, out=said.append)
    assert "".join(said) == ""


def test_everything_that_is_offered_is_on_it():
    hidden = {"InternalError", "UnexpectedError", "__version__"}  # bugs of bnfold, which nobody catches
    assert set(re.findall(r"^::: bnfold\.(\w+)$", PAGE, re.MULTILINE)) == set(bnfold.__all__) - hidden
