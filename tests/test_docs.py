"""The generated pages hold what the code says."""

import importlib.util
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

from bnfold import rules
from bnfold.refusal import Reason

ROOT = Path(__file__).parents[1]


def _generator():
    sys.path.insert(0, str(ROOT / "docs"))  # where what it imports lies
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "docs"))
    return module


@pytest.mark.parametrize("name", list(_generator().PAGES))
def test_generated_page_is_up_to_date(name):
    assert (ROOT / "docs" / name).read_text() == _generator().PAGES[name](), "run python docs/generate.py"


def test_codes_and_slugs_are_unique():
    assert len({reason.code for reason in Reason}) == len(Reason)
    assert len({reason.slug for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: rule.__name__)
def test_rule_docstring_has_every_heading_and_names_real_codes(rule):
    text = inspect.getdoc(rule)
    for heading in ("Before::", "After::", "Law:", "Shapes:", "Refuses:", "Source:"):
        assert heading in text, heading
    refused = text.split("Refuses:")[1].split("Source:")[0]
    for name in re.findall(r"\b[A-Z][A-Z_]{3,}\b", refused):
        assert name in Reason.__members__, name


def test_every_rule_is_listed():
    found = pkgutil.walk_packages(rules.__path__, prefix=f"{rules.__name__}.")
    modules = [importlib.import_module(module.name) for module in found]
    written = {
        function
        for module in modules
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and "Before::" in (function.__doc__ or "")
    }
    assert written == set(rules.ALL)


def test_every_code_is_on_the_page():
    page = (ROOT / "docs" / "refusals.md").read_text()
    headings = re.findall(r"^### (BNF\d+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(reason.code for reason in Reason)
    assert re.findall(r"\]\(#(\w+)\)", page) == [code.lower() for code in headings]


PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "CHANGELOG.md"})


def without_code(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """Of a page's headings, as code hosts and the site make them: small letters, blanks to dashes, no other signs."""
    titles = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles]
    return {*slugs, *re.findall(r'<a id="([^"]+)"', page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", without_code(page)):
        target = "".join(link)
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


CODE = ("bnfold", "tests", "benchmarks", "docs", "examples")
FOLDERS = [ROOT, *(path for path in (ROOT / "bnfold").rglob("*") if path.is_dir()), ROOT / "bnfold", ROOT / "docs"]
FILE_NAMES = {path.name for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file()}


def exists(name):
    """Whether a path is one from the root, the package or a folder of it; a bare name may lie anywhere."""
    found = any(any(folder.glob(name.rstrip("/"))) for folder in FOLDERS)
    return found or ("/" not in name and name in FILE_NAMES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page):
    prose = without_code(page)
    words = [word.partition("::")[0] for word in re.findall(r"`([^`\s]+)`", prose)]
    first = {path.name for path in (ROOT / "bnfold").iterdir()} | set(CODE)
    named = {word for word in words if word.endswith(".py") or ("/" in word and word.split("/")[0] in first)}
    assert sorted(word for word in named if not word.startswith("torch/") and not exists(word)) == []


def test_every_part_of_the_package_has_a_line_in_the_table_of_places():
    table = (ROOT / "docs" / "architecture.md").read_text().split("| place |")[1].split("\n\n")[0]
    named = {word.rstrip("/").split("/")[0] for word in re.findall(r"`([^`]+)`", table)}
    there = {path.name for path in (ROOT / "bnfold").iterdir() if not path.name.startswith("_")} - {"py.typed"}
    assert there - named == set()


def test_the_man_page_has_every_option():
    from bnfold.cli.explain_command import explain_command
    from bnfold.cli.fold_command import fold_command
    from bnfold.cli.verify_command import verify_command

    page = (ROOT / "docs" / "bnfold.1").read_text().replace("\\-", "-")
    options = [option for command in (fold_command, explain_command, verify_command) for option in command.params]
    names = [name for option in options for name in (*option.opts, *option.secondary_opts) if name[:1] == "-"]
    assert len(names) > 40
    assert [name for name in names if not re.search(rf"{re.escape(name)}\b", page)] == []
