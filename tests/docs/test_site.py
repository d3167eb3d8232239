"""The check of the built site finds what it looks for, and links of the repository become links of the site."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def check(site):
    done = subprocess.run(
        [sys.executable, DOCS / "check_site.py", site], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "guide").mkdir()
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="a.css"><a href="guide/#here">x</a><a href="https://elsewhere.example/">y</a>'
    )
    (tmp_path / "a.css").write_text("")
    (tmp_path / "guide" / "index.html").write_text('<h2 id="here">x</h2><a href="..">back</a><a href="#here">up</a>')
    return tmp_path


def test_a_whole_site_passes(site):
    assert check(site) == (0, ["2 pages: every link leads somewhere, and nothing comes from another host"])


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('<a href="gone/">x</a>', "index.html: has no gone/"),
        ('<a href="guide/#gone">x</a>', "index.html: has no guide/#gone"),
        ('<img src="gone.svg">', "index.html: has no gone.svg"),
        ('<script src="https://cdn.example/x.js"></script>', "index.html: loads https://cdn.example/x.js"),
        ('<link rel="preconnect" href="https://fonts.example">', "index.html: loads https://fonts.example"),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', "index.html: loads //fonts.example/a.css"),
    ],
)
def test_what_is_wrong_is_told(site, added, said):
    with (site / "index.html").open("a") as page:
        page.write(added)
    assert check(site) == (1, [said])


def test_a_folder_without_pages_is_no_site(tmp_path):
    assert check(tmp_path)[0] == 1


@pytest.mark.parametrize(
    ("source", "given", "placed"),
    [
        ("README.md", "[t](docs/rules.md#a)", "[t](rules.md#a)"),
        ("README.md", "[t](CONTRIBUTING.md)", "[t](contributing.md)"),
        ("README.md", '<img src="docs/images/a.svg">', '<img src="images/a.svg">'),
        ("README.md", "[t](pyproject.toml)", "t"),
        ("README.md", "[t](https://a.example/docs/x.md)", "[t](https://a.example/docs/x.md)"),
        ("README.md", "```\n[t](docs/rules.md)\n```\n", "```\n[t](docs/rules.md)\n```\n"),
        ("docs/command.md", "[t](../bnfold/report/schema.json)", "[t](schema.json)"),
        ("docs/recipes/ci.md", "[t](../../README.md#in)", "[t](../index.md#in)"),
        ("docs/recipes/ci.md", "[t](../command.md) [u](olive.md)", "[t](../command.md) [u](olive.md)"),
    ],
)
def test_links_are_those_of_the_site(monkeypatch, source, given, placed):
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(DOCS))
    import hooks

    assert hooks.placed(given, source) == placed
