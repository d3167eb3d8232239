"""What mkdocs does for the site besides: pages that lie at the root of the repository, and links that lead there.

README.md is the first page, so that both say the same. A link to a file that the site does not have loses its link,
not its text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
AT_THE_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "bnfold/report/schema.json": "schema.json",
}
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_PICTURE = re.compile(r'(src(?:set)?=")(?:docs/)?(images/[^"]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the root."""
    for name, place in AT_THE_ROOT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links lead to where their files are on the site."""
    source = next((name for name, place in AT_THE_ROOT.items() if place == page.file.src_uri), None)
    return placed(markdown, source or f"docs/{page.file.src_uri}")


def placed(markdown: str, source: str) -> str:
    """A page with its links as the site has them.

    Args:
        markdown: the page.
        source: its path in the repository.
    """
    place = AT_THE_ROOT.get(source, source.removeprefix("docs/"))

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        new = AT_THE_ROOT.get(there, there.removeprefix("docs/") if there.startswith("docs/") else "")
        if not new or new.endswith(".py"):
            return text
        return f"[{text}]({posixpath.relpath(new, posixpath.dirname(place) or '.')}{mark}{anchor})"

    parts, start = [], 0
    for fence in _FENCED.finditer(markdown):
        parts += [_LINK.sub(link, markdown[start : fence.start()]), fence[0]]
        start = fence.end()
    page = "".join([*parts, _LINK.sub(link, markdown[start:])])
    # A page is a folder of its own, but for the first; mkdocs leaves links in HTML as they are.
    up = "" if place == "index.md" else "../" * (place.count("/") + 1)
    return _PICTURE.sub(lambda found: found[1] + up + found[2], page)
