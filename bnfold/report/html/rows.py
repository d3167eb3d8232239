"""One row for one node: its name and a few figures, opening on what there is to know of it."""

from collections.abc import Iterable, Sequence

from bnfold.report.html.entries import Entry
from bnfold.report.html.markup import text


def row(entry: Entry, cells: Sequence[str], content: str, codes: Iterable[str] = ()) -> str:
    """A node's row.

    Args:
        entry: the node.
        cells: plain text, beside its name.
        content: HTML, below.
        codes: of its reasons, for the filter.
    """
    told = " ".join(dict.fromkeys(codes))
    data = f' data-codes="{told}"' if told else ""
    shown = "".join(f"<i>{text(cell)}</i>" for cell in cells)
    return (
        f'<details class="row {entry.fate.kind}" id="{entry.anchor}"{data}>'
        f"<summary><b>{text(entry.node.node)}</b>{shown}</summary>{content}</details>\n"
    )


def rows(headings: Sequence[str], content: Iterable[str]) -> str:
    """Rows under their headings, as many columns as there are headings."""
    heads = "".join(f"<i>{text(heading)}</i>" for heading in headings[1:])
    return (
        f'<div class="rows of{len(headings)}">'
        f'<div class="head" aria-hidden="true"><b>{text(headings[0])}</b>{heads}</div>\n'
        f'<div class="body">{"".join(content)}</div></div>\n'
    )
