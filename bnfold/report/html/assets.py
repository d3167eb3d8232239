"""The style sheet and the script of the page, as they stand in their files, and their digests for its policy."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files


@cache
def style() -> str:
    """The style sheet."""
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The script, without which the page is whole but cannot be searched."""
    return files(__package__).joinpath("page.js").read_text(encoding="utf-8")


def policy() -> str:
    """What the browser is to allow: this style sheet and this script, and nothing else, from anywhere.

    Source: W3C Content Security Policy Level 3, https://www.w3.org/TR/CSP3/
    """
    return f"default-src 'none'; style-src '{_digest(style())}'; script-src '{_digest(script())}'; base-uri 'none'"


def _digest(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
