"""The worked examples of docs/extending.md: their diffs fit the code, and their tests pass on what comes out."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (An? [^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@dataclass
class Hunk:
    """Lines of a file before and after."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def hunks(text):
    """The hunks of a diff without line numbers, by path."""
    found: dict[str, list[Hunk]] = {}
    for line in text.splitlines():
        if line.startswith("+++ "):
            here = found.setdefault(line[4:], [])
        elif line == "@@":
            here.append(Hunk())
        elif line[:1] == "+":
            here[-1].after.append(line[1:])
        elif line[:1] == "-":
            here[-1].before.append(line[1:])
        else:
            here[-1].before.append(line[1:])
            here[-1].after.append(line[1:])
    return found


def diffs_of(section):
    found: dict[str, list[Hunk]] = {}
    for block in re.findall(r"^```diff\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        for path, changes in hunks(block).items():
            found.setdefault(path, []).extend(changes)
    return found


def apply(root, path, changes):
    """Each hunk fits one place of the file; a file that is not there is made."""
    file = root / path
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    for hunk in changes:
        before, after = ("".join(f"{line}\n" for line in lines) for lines in (hunk.before, hunk.after))
        places = text.count(before) if before else int(not text)
        assert places == 1, f"docs/extending.md: this fits {places} places of {path}:\n{before}"
        text = text.replace(before, after) if before else after
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with all the examples."""
    root = tmp_path_factory.mktemp("extended")
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("bnfold", "tests", "docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, root / name, ignore=left_out)
    for file in (
        *ROOT.glob("*.md"),
        *(ROOT / name for name in ("pyproject.toml", "LICENSE", ".pre-commit-hooks.yaml")),
    ):
        shutil.copy(file, root)
    for section in SECTIONS.values():
        for path, changes in diffs_of(section).items():
            apply(root, path, changes)
    return root


def run(root, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_an_example(name):
    paths = diffs_of(SECTIONS[name])
    assert any(path.startswith("bnfold/") for path in paths)
    assert any(path.startswith("tests/") for path in paths)


def test_the_examples_work(extended):
    """All of them, and the tests that hold for every operator, rule and meaning."""
    paths = [path for section in SECTIONS.values() for path in diffs_of(section) if path.startswith("tests/")]
    done = run(extended, "docs/generate.py")
    assert done.returncode == 0, done.stderr
    laws = ["tests/rules/test_dispatch.py", "tests/rules/test_docstrings.py"]
    general = [*laws, "tests/onnx/test_operators.py", "tests/test_docs.py"]
    done = run(extended, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *paths, *general)
    assert done.returncode == 0, done.stdout[-5000:]


def test_the_table_counts_the_files():
    counted = [int(number) for number in re.findall(r"^\| [^|]+ \| (\d+) \|", PAGE, re.MULTILINE)]
    files = [{path for path in diffs_of(section) if path.startswith("bnfold/")} for section in SECTIONS.values()]
    assert counted == [len(paths) for paths in files]
