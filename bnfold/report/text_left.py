"""The BatchNorms that stay, in the report for people: together what met one fate, and what can be done about it."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bnfold.keywords import keyword
from bnfold.outcome import Kept
from bnfold.report.grouping import group_by_fate, group_by_verdict
from bnfold.report.text_layout import CODE, HEADING, QUIET, indented
from bnfold.report.verdicts import (
    WHERE,
    hint_beside,
    needs_a_person,
    obstacle_on_its_way,
    verdict_of,
    ways_of,
    what_would_do,
)
from bnfold.report.wording import counted, printable, whole

_MOST_GROUPS = 5
_ONE_OF_MANY = "such as"
_WIDEST_LABEL = max(map(len, (_ONE_OF_MANY, *WHERE.values())))


def batch_norms_left(kept: Sequence[Kept], *, verbose: bool) -> list[RenderableType]:
    """Every group with its verdict, what stands in the way on each side, and one name; nothing where none stays.

    Args:
        kept: the nodes that stay, others than BatchNorms among them.
        verbose: whether all names follow, so that nobody has to be told how to get them.
    """
    how = "" if verbose else f" ({keyword('verbose', True)})"
    lines: list[RenderableType] = []
    for nodes in group_by_verdict(node for node in kept if node.is_batch_norm):
        lines += [_verdict(nodes), *_groups(nodes, how)]
    return [indented(2, line) for line in lines]


def _verdict(nodes: Sequence[Kept]) -> Table:
    """Such as "Left  59 cannot be folded by any rewrite of this file"."""
    first = nodes[0]
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(style=HEADING, no_wrap=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_row("Left ", whole(len(nodes)), Text(verdict_of(first), "yellow" if needs_a_person(first) else ""))
    return row


def _groups(nodes: Sequence[Kept], how: str) -> list[RenderableType]:
    """What met the same obstacles. A BatchNorm that is the only one gets its evidence, with all names and figures."""
    groups = group_by_fate(nodes)
    width = len(whole(len(groups[0])))
    lines = [_group(group, width, how, in_full=len(nodes) == 1) for group in groups[:_MOST_GROUPS]]
    hidden = groups[_MOST_GROUPS:]
    if hidden:
        count = counted(sum(map(len, hidden)), "other")
        lines.append(Text(f"and {count} in {counted(len(hidden), 'group')}{how}", QUIET))
    return [indented(2, line) for line in lines]


def _group(nodes: Sequence[Kept], width: int, how: str, *, in_full: bool) -> RenderableType:
    """One line for each way, and one with a name."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width, no_wrap=True)
    table.add_column(style=QUIET, no_wrap=True, width=_WIDEST_LABEL)
    table.add_column(overflow="fold", ratio=1)
    count = "" if in_full else f"{whole(len(nodes)):>{width}}"
    for refusal in ways_of(nodes[0]):
        said = printable(refusal.evidence) if in_full else printable(obstacle_on_its_way(refusal))
        table.add_row(count, WHERE[refusal.way], Text.assemble(f"{said} (", (refusal.reason.code, CODE), ")"))
        count = ""
    for hint in dict.fromkeys(filter(None, map(hint_beside, ways_of(nodes[0])))):
        table.add_row("", "note", printable(hint))
    if any(node.would_do for node in nodes):
        table.add_row("", "instead", what_would_do(nodes))
    more = f" and {whole(len(nodes) - 1)} more{how}" if len(nodes) > 1 else ""
    table.add_row("", _ONE_OF_MANY if more else "it is", Text.assemble(printable(nodes[0].node), (more, QUIET)))
    return table
