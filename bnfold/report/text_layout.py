"""How the report for people is laid out: a column of labels, and what is said of each beside it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bnfold.report.wording import printable

HEADING = "bold"
CODE = "magenta"
QUIET = "dim"
LABEL_WIDTH = 12
_END = re.compile(r"(?: |\x1b\[[0-9;]*m)+$")
"""Blanks at the end of a line, and the colours that begin and end among them."""


def as_lines(sections: Iterable[Sequence[RenderableType]], *, width: int, color: bool) -> str:
    """Sections with an empty line between them, as text that ends in a line break; no line ends in blanks.

    Args:
        sections: each of lines; empty ones are left out.
        width: columns of the terminal; longer lines are wrapped.
        color: whether to put ANSI colours in.
    """
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for section in filter(None, sections):
            console.print(*section, "", sep="\n")
    return "\n".join(map(_without_blanks_at_the_end, capture.get().rstrip().split("\n"))) + "\n"


def _without_blanks_at_the_end(line: str) -> str:
    return _END.sub(lambda end: end[0].replace(" ", ""), line)


def warning_line(text: str) -> Text:
    """A warning as it stands among the lines of a report."""
    return Text.assemble(("warning: ", "yellow"), printable(text))


def labelled(label: str, lines: Sequence[RenderableType]) -> RenderableType:
    """A row of the summary: a label, and lines beside it.

    Args:
        label: a word or two, of `LABEL_WIDTH` columns at most.
        lines: strings are wrapped; a name without blanks is cut where the line ends, and stays whole.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=LABEL_WIDTH, style=HEADING, no_wrap=True)
    grid.add_column(overflow="fold", ratio=1)
    grid.add_row(label, lines[0])
    for line in lines[1:]:
        grid.add_row("", line)
    return indented(2, grid)


@dataclass(frozen=True)
class Hanging:
    """Two parts on one line, or where that is too long the second one below the first, further to the right."""

    first: str
    second: str

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        together = f"{self.first} {self.second}".rstrip()
        if cell_len(together) <= options.max_width or not self.second:
            yield Text(together, overflow="fold")
        else:
            yield Text(self.first, overflow="fold")
            yield indented(2, self.second)


def indented(columns: int, content: RenderableType) -> RenderableType:
    """Something further to the right."""
    plain = Text(content, overflow="fold") if isinstance(content, str) else content
    return Padding(plain, (0, 0, 0, columns))


def numbers(first: str, *headings: str) -> Table:
    """A table without lines: names on the left, numbers on the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, show_edge=False, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
