"""Where the project is in public: what [project.urls] of pyproject.toml says, and nothing else.

    [project.urls]
    Documentation = "https://..."
    Source = "https://..."

Documentation is the site's address, links of README.md on a package index, and help in SARIF reports; Source is what
pages tell to install from. `python docs/generate.py` brings the pages up to date.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOWHERE = "https://HOST/OWNER/bnfold"
"""Stands in pages for the repository, while it is nowhere."""

_REPOSITORY = re.compile(r"(?<=git\+)https://[^\s`'\"]+|(?<=- repo: )https://\S+")


@dataclass(frozen=True)
class Addresses:
    """Addresses without a slash at the end of the repository's.

    Attributes:
        documentation: of the site, or None.
        source: of the repository, or None.
    """

    documentation: str | None
    source: str | None


def addresses(project: Path = PROJECT) -> Addresses:
    """What pyproject.toml says."""
    urls = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("urls", {})
    source = urls.get("Source")
    return Addresses(urls.get("Documentation"), None if source is None else source.rstrip("/"))


def with_source(page: str, source: str | None) -> str:
    """A page that installs from the repository's address."""
    return _REPOSITORY.sub(source or NOWHERE, page)
