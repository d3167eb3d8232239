"""What is shipped, what is promised, and what the tests are pinned to."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r"Python :: (3\.\d+)", PROJECT)
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
TEXTS = [
    path
    for pattern in ("*.md", "docs/*.md", "examples/*", "bnfold/**/*.py")
    for path in ROOT.glob(pattern)
    if path.suffix in (".md", ".py")
]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_has_one_version_on_every_python(python):
    names = [
        canonicalize_name(pin.name)
        for pin in PINS
        if pin.marker is None or pin.marker.evaluate({"python_version": python})
    ]
    assert len(names) == len(set(names))
    older = {"exceptiongroup", "tomli", "coloredlogs", "humanfriendly", "six"}  # of what older versions need besides
    assert {canonicalize_name(pin.name) for pin in PINS} - set(names) <= older


def test_the_oldest_python_is_among_them():
    assert f'requires-python = ">={PYTHONS[0]}"' in PROJECT


def test_what_the_tests_need_is_pinned_and_fits():
    needed = re.search(r"^test = \[(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)[1]
    needed += re.search(r"^dependencies = \[(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)[1]
    for text in re.findall(r'"(.*?)"', needed):
        requirement = Requirement(text)
        pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
        assert pins, text
        for pin in pins:
            (version,) = pin.specifier
            assert requirement.specifier.contains(version.version), f"{text} against {pin}"


def test_tests_can_be_collected_without_torch():
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        imports = (node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom))
        line = next((node.lineno for node in imports if re.search(r"(import|from) torch\b", ast.unparse(node))), 0)
        assert not line or 'importorskip("torch"' in "".join(text.splitlines()[: line - 1]), path


def test_nothing_is_promised_that_no_index_has():
    """bnfold is on no index: pip install finds it in a checkout alone."""
    promise = re.compile(r"install[^\n]*bnfold\[|pip install ['\"]?bnfold\b")
    assert [path for path in TEXTS if promise.search(path.read_text(encoding="utf-8"))] == []


def built(checkout, folder):
    """The wheel of a checkout, as its build backend makes it, opened."""
    pytest.importorskip("hatchling")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    with built(ROOT, tmp_path_factory.mktemp("wheel")) as archive:
        yield archive


def test_the_wheel_holds_what_type_checkers_and_people_look_for(wheel):
    names = set(wheel.namelist())
    assert {"bnfold/py.typed", "bnfold/report/schema.json"} <= names
    assert any(name.endswith(".data/data/share/man/man1/bnfold.1") for name in names)
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bnfold").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_the_page_of_an_index_has_no_link_that_leads_nowhere(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    page = wheel.read(name).decode().partition("\n\n")[2]
    assert page.count("\n## ") > 4
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", page)
    assert [target for target in map("".join, targets) if not target.startswith("https://")] == []


def test_the_page_of_an_index_leads_to_the_site_once_there_is_one(tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("README.md", "LICENSE", "docs/bnfold.1", "docs/index_page.py", "docs/links.py", "bnfold/version.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    urls = '[project.urls]\nDocumentation = "https://docs.example/bnfold"\n\n[project.scripts]'
    (checkout / "pyproject.toml").write_text(PROJECT.replace("[project.scripts]", urls), encoding="utf-8")

    with built(checkout, tmp_path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        page = archive.read(name).decode()

    assert "Project-URL: Documentation, https://docs.example/bnfold" in page
    assert '<img src="https://docs.example/bnfold/images/idea-light.svg"' in page
    assert "](https://docs.example/bnfold/verification/)" in page
    assert "](docs/" not in page


@pytest.mark.parametrize("script", ["make_more.py", "make_digits.py"])
@pytest.mark.parametrize("missing", ["torch", "onnxscript"])
def test_examples_say_what_is_missing_in_one_line(tmp_path, script, missing):
    if missing != "torch":
        pytest.importorskip("torch")
        pytest.importorskip("sklearn")
    run = f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv = sys.argv[1:]; "
    run += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"
    path = (ROOT / "examples" / script).as_posix()
    done = subprocess.run(
        [sys.executable, "-c", run, path, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr == f"{missing} is not installed: pip install '.[test]' in a checkout of bnfold\n"
    assert list(tmp_path.iterdir()) == []
