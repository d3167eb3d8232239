"""Where links of the repository's pages lead: on the site, and on a package index, which shows README.md alone.

In the repository they are relative, which a checkout and every code host understand.
"""

import posixpath
import re
from collections.abc import Callable

AT_THE_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "bnfold/report/schema.json": "schema.json",
}
"""Pages of the site that lie at the root of the repository, and where the site has them."""

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_SOURCE = re.compile(r'(src(?:set)?=")(?:docs/)?(images/[^"]+)')
_PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(?P<dark>[^"]*)">\s*'
    r'(?P<img><img src="(?P<light>[^"]*)"(?P<rest>[^>]*)>)\s*</picture>\s*'
)


def placed(markdown: str, source: str) -> str:
    """A page with its links as the site has them. A link to a file that the site does not have loses its link, not
    its text.

    Args:
        markdown: the page.
        source: its path in the repository.
    """
    place = AT_THE_ROOT.get(source, source.removeprefix("docs/"))
    page = _linked(markdown, source, lambda there: posixpath.relpath(there, posixpath.dirname(place) or "."))
    page = _PICTURE.sub(_by_scheme, page)
    # A page is a folder of its own, but for the first; mkdocs leaves links in HTML as they are.
    up = "" if place == "index.md" else "../" * (place.count("/") + 1)
    return _SOURCE.sub(lambda found: found[1] + up + found[2], page)


def on_index(readme: str, documentation: str | None) -> str:
    """README.md as a package index shows it: links and pictures are those of the site.

    Args:
        readme: the page.
        documentation: where the site is. While it is nowhere, links lose their links, and pictures are left out.
    """
    if documentation is None:
        return _linked(_PICTURE.sub("", readme), "README.md", lambda _there: None)
    home = documentation.rstrip("/") + "/"
    page = _PICTURE.sub(lambda found: f"{found['img']}\n\n", readme)  # an index knows no picture for the dark
    page = _linked(page, "README.md", lambda there: home + _address(there))
    return _SOURCE.sub(lambda found: found[1] + home + found[2], page)


def _by_scheme(found: re.Match[str]) -> str:
    """Both pictures, of which the theme shows one by these marks: its reader may choose another scheme than the
    system's, which alone decides in a <picture>.
    """
    both = (f'<img src="{found[scheme]}#only-{scheme}"{found["rest"]}>' for scheme in ("light", "dark"))
    return "\n".join(both) + "\n\n"


def _address(path: str) -> str:
    """Where the site shows a file of its source: a page is a folder of its own."""
    if path == "index.md" or path.endswith("/index.md"):
        return path.removesuffix("index.md")
    return path.removesuffix(".md") + "/" if path.endswith(".md") else path


def _linked(markdown: str, source: str, address: Callable[[str], str | None]) -> str:
    """A page whose links to pages of the site are others: `address` of the path that the site has for it."""

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        new = AT_THE_ROOT.get(there, there.removeprefix("docs/") if there.startswith("docs/") else "")
        leads = address(new) if new and not new.endswith(".py") else None
        return text if leads is None else f"[{text}]({leads}{mark}{anchor})"

    parts, start = [], 0
    for fence in _FENCED.finditer(markdown):
        parts += [_LINK.sub(link, markdown[start : fence.start()]), fence[0]]
        start = fence.end()
    return "".join([*parts, _LINK.sub(link, markdown[start:])])
