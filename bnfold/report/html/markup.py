"""Text out of models as HTML, and the few elements that many sections are made of."""

from collections.abc import Iterable, Sequence
from html import escape

from bnfold.report.wording import printable


def text(value: str) -> str:
    """A name or a sentence, harmless in an element and in a quoted attribute, whatever it holds."""
    return escape(printable(value))


def middle_elided(name: str, most: int) -> str:
    """A name of at most so many characters: its end says more than its beginning, and both more than its middle."""
    shown = printable(name)
    if len(shown) <= most:
        return shown
    head = most // 4
    return f"{shown[:head]}\u2026{shown[len(shown) - (most - head - 1) :]}"


def paragraph(sentence: str, kind: str = "") -> str:
    """One paragraph of plain text."""
    return f'<p class="{kind}">{text(sentence)}</p>\n' if kind else f"<p>{text(sentence)}</p>\n"


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """A table out of (heading, class) pairs and plain text, which scrolls by itself where the window is narrow.

    Returns:
        Nothing without rows.
    """
    body = "".join(
        "<tr>" + "".join(_cell("td", cell, kind) for cell, (_, kind) in zip(row, columns, strict=True)) + "\n"
        for row in rows
    )
    if not body:
        return ""
    head = "".join(_cell("th", heading, kind) for heading, kind in columns)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'


def _cell(tag: str, value: str, kind: str) -> str:
    return f'<{tag} class="{kind}">{text(value)}</{tag}>' if kind else f"<{tag}>{text(value)}</{tag}>"


def definitions(entries: Iterable[tuple[str, str]]) -> str:
    """Terms and their values, as plain text; those without a value are left out."""
    found = "".join(f"<dt>{text(term)}</dt><dd>{text(value)}</dd>\n" for term, value in entries if value)
    return f"<dl>\n{found}</dl>\n" if found else ""


def disclosure(summary: str, content: str, *, kind: str = "", is_open: bool = False) -> str:
    """Content that opens by its summary; both are HTML."""
    attributes = (f' class="{kind}"' if kind else "") + (" open" if is_open else "")
    return f"<details{attributes}><summary>{summary}</summary>\n{content}</details>\n"


def code(value: str, prefix: str = "") -> str:
    """A code, as a link to what it means at the foot of the page."""
    return f'<a class="code" href="#{prefix}{value}">{value}</a>'
