"""Whether every link of the built site leads to a page and a place on it, and no page loads anything from another host.

python docs/check_site.py FOLDER    # of mkdocs build; prints what is wrong, and exits with 1 if anything is
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("img", "src"), ("script", "src"), ("source", "srcset"), ("iframe", "src"), ("video", "src")}
_LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


@dataclass
class Found(HTMLParser):
    """What a page links to and loads, and the places on it."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down one element."""
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and _LOADED_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        self.loads += [given[name] for name in given if (tag, name) in _LOADED]


def pages_of(site: Path) -> dict[Path, Found]:
    """Every page, read."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        found = Found()
        found.feed(path.read_text(encoding="utf-8"))
        pages[path.resolve()] = found
    return pages


def problems(site: Path) -> list[str]:
    """One line for each dead link, and for each file that a page would load from elsewhere."""
    pages = pages_of(site)
    said = []
    for path, found in pages.items():
        if path.name == "404.html":
            continue  # its addresses begin at the root of a host
        name = path.relative_to(site.resolve())
        said += [f"{name}: loads {url}" for url in found.loads if urlsplit(url).netloc]
        said += [f"{name}: has no {url}" for url in {*found.links, *found.loads} if not _leads(url, path, pages)]
    return said


def _leads(url: str, page: Path, pages: dict[Path, Found]) -> bool:
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].places


def main() -> int:
    """Check the folder that is named."""
    site = Path(sys.argv[1])
    said = problems(site)
    count = len(pages_of(site))
    print("\n".join(said) or f"{count} pages: every link leads somewhere, and nothing comes from another host")
    return 1 if said or not count else 0


if __name__ == "__main__":
    sys.exit(main())
