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
        (
            "docs/theory.md",
            '<picture>\n<source media="m" srcset="images/d.svg">\n<img src="images/a.svg" alt="x">\n</picture>\n\nText',
            '<img src="../images/a.svg#only-light" alt="x">\n<img src="../images/d.svg#only-dark" alt="x">\n\nText',
        ),
        ("README.md", "[t](pyproject.toml)", "t"),
        ("README.md", "[t](https://a.example/docs/x.md)", "[t](https://a.example/docs/x.md)"),
        ("README.md", "```\n[t](docs/rules.md)\n```\n", "```\n[t](docs/rules.md)\n```\n"),
        ("docs/command.md", "[t](../bnfold/report/schema.json)", "[t](schema.json)"),
        ("docs/recipes/ci.md", "[t](../../README.md#in)", "[t](../index.md#in)"),
        ("docs/recipes/ci.md", "[t](../command.md) [u](olive.md)", "[t](../command.md) [u](olive.md)"),
    ],
)
def test_links_are_those_of_the_site(monkeypatch, source, given, placed):
    monkeypatch.syspath_prepend(str(DOCS))
    import links

    assert links.placed(given, source) == placed


@pytest.mark.parametrize(
    ("given", "nowhere", "somewhere"),
    [
        ("[t](docs/rules.md#a)", "t", "[t](https://docs.example/x/rules/#a)"),
        ("[t](docs/recipes/index.md)", "t", "[t](https://docs.example/x/recipes/)"),
        ("[t](README.md#in)", "t", "[t](https://docs.example/x/#in)"),
        ("[t](CONTRIBUTING.md)", "t", "[t](https://docs.example/x/contributing/)"),
        ("[t](bnfold/report/schema.json)", "t", "[t](https://docs.example/x/schema.json)"),
        ("[t](pyproject.toml)", "t", "t"),
        ("[t](#in) [u](https://a.example/b.md)",) * 3,
        (
            '<picture>\n<source srcset="docs/images/d.svg">\n<img src="docs/images/a.svg" alt="x">\n</picture>\n\nText',
            "Text",
            '<img src="https://docs.example/x/images/a.svg" alt="x">\n\nText',
        ),
    ],
)
def test_links_on_an_index_are_those_of_the_site(monkeypatch, given, nowhere, somewhere):
    monkeypatch.syspath_prepend(str(DOCS))
    import links

    assert links.on_index(given, None) == nowhere
    assert links.on_index(given, "https://docs.example/x") == somewhere


URLS = '[project.urls]\nDocumentation = "https://docs.example/"\nSource = "https://code.example/me/bnfold/"\n'


def test_one_place_has_the_addresses(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(DOCS))
    from addresses import NOWHERE, Addresses, addresses, with_source

    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\n")
    assert addresses(project) == Addresses(None, None)
    project.write_text(f"[project]\n{URLS}")
    assert addresses(project) == Addresses("https://docs.example/", "https://code.example/me/bnfold")

    pages = [DOCS.parent / "README.md", *(DOCS / "recipes" / name for name in ("uvx.md", "pre_commit.md"))]
    for page in pages:
        moved = with_source(page.read_text(), "https://code.example/me/bnfold")
        assert "HOST" not in moved
        assert moved.count("https://code.example/me/bnfold") == 1
        assert with_source(moved, None).count(NOWHERE) == 1
