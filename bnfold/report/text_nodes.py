"""The two lists of the report for people: the nodes that folded, and the nodes that stay."""

from collections.abc import Sequence
from typing import TypeVar

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bnfold.outcome import Direction, Fold, Kept
from bnfold.refusal import Refusal
from bnfold.report.grouping import KeptGroup, group_folds, group_kept
from bnfold.report.labels import all_called, called
from bnfold.report.wording import counted, printable, whole

_FOLD_EXAMPLES = 3
_KEPT_EXAMPLES = 2
_HEADING = "bold"
_CODE = "bold yellow"
_QUIET = "dim"

_WHERE: dict[Direction, str] = {
    "upstream": "into the operator before",
    "downstream": "into the operators behind",
    "both": "into the operators before and behind",
    "merged": "merged into one operator",
    "across": "across tensors that others read",
    "removed": "removed, as it changes nothing",
    "branch": "merged with the branches beside it",
    "computed": "computed once, with the weight that it was for",
}

T = TypeVar("T")


def folded_nodes(folds: Sequence[Fold], *, width: int, verbose: bool) -> list[RenderableType]:
    """What was folded, into what; nothing where nothing was.

    Args:
        folds: the nodes that are gone.
        width: columns of the terminal.
        verbose: name every node, not the first few of each group.
    """
    lines: list[RenderableType] = []
    for group in group_folds(folds):
        lines.append(_indented(2, f"{whole(len(group.folds))} {printable(group.op)} {_WHERE[group.direction]}"))
        shown, hidden = _some(group.folds, _FOLD_EXAMPLES, verbose)
        lines += [_indented(4, _fold(fold, width - 4)) for fold in shown]
        lines += _more(hidden, 4)
    return [Text("Folded", _HEADING), *lines] if lines else []


def _fold(fold: Fold, width: int) -> str:
    """Such as "bn1 into conv1", on two lines where it is too long for one; the node alone where it went nowhere."""
    if fold.direction == "across":
        nodes = counted(len(fold.into), "node")
        return f"{printable(fold.node)}: {nodes} changed, zero point {fold.zero_point:.2g} deviations from the mean"
    if not fold.into:
        return printable(fold.node)
    target = "into " + all_called(fold.into)
    if fold.through:
        target += " through " + all_called(fold.through)
    if fold.dead_channels:
        target += f", {counted(fold.dead_channels, 'dead channel')}"
    line = f"{printable(fold.node)} {target}"
    return line if cell_len(line) <= width else f"{printable(fold.node)}\n  {target}"


def kept_nodes(kept: Sequence[Kept], *, verbose: bool) -> list[RenderableType]:
    """What stays, and why: BatchNorms by their first reason, the others in one line; nothing where nothing stays.

    Args:
        kept: the nodes that stay.
        verbose: show every node with every reason, not the first few BatchNorms of each group.
    """
    lines: list[RenderableType] = []
    for group in group_kept(node for node in kept if node.is_batch_norm):
        lines += _kept_group(group, "BatchNorm", verbose)
    others = group_kept(node for node in kept if not node.is_batch_norm)
    if verbose:
        for group in others:
            lines += _kept_group(group, "other affine node", verbose)
    elif others:
        lines.append(_count_by_code(others))
    return [Text("Stays", _HEADING), *lines] if lines else []


def _kept_group(group: KeptGroup, noun: str, verbose: bool) -> list[RenderableType]:
    reason = group.reason
    head = Text.assemble((reason.code, _CODE), f" {reason.slug}: {counted(len(group.nodes), noun)}")
    shown, hidden = _some(group.nodes, _KEPT_EXAMPLES, verbose)
    lines: list[RenderableType] = [_indented(2, head), _indented(2, Text(reason.meaning, _QUIET))]
    for node in shown:
        name = node.node if node.is_batch_norm else f"{node.node} ({node.op})"
        lines.append(_indented(4, printable(name)))
        lines.append(_indented(6, _evidence(node, verbose)))
    return [*lines, *_more(hidden, 4)]


def _evidence(node: Kept, verbose: bool) -> Table:
    """The first reason in full; the others below it where every reason is asked for. Paths start behind the node."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=_QUIET, no_wrap=True)
    table.add_column(overflow="fold")
    first, *others = node.refusals
    if len(first.path) > 1:
        table.add_row("path", _path(first, "<-"))
    table.add_row("because", printable(first.evidence))
    if first.hint:
        table.add_row("note", printable(first.hint))
    for refusal in others if verbose else ():
        table.add_row("nor", f"{_path(refusal, '->')} {printable(refusal.evidence)} ({refusal.reason.code})".lstrip())
    return table


def _path(refusal: Refusal, arrow: str) -> str:
    return " ".join(f"{arrow} {called(label)}" for label in refusal.path[1:])


def _count_by_code(groups: Sequence[KeptGroup]) -> RenderableType:
    total = sum(len(group.nodes) for group in groups)
    reasons = ", ".join(f"{whole(len(group.nodes))} {group.reason.slug}" for group in groups)
    return _indented(2, f"{counted(total, 'other affine node')}: {reasons} (-v names them)")


def _some(entries: Sequence[T], limit: int, everything: bool) -> tuple[Sequence[T], int]:
    """The entries to show and how many that hides. One more than the limit is shown, for a line saves nothing."""
    if everything or len(entries) <= limit + 1:
        return entries, 0
    return entries[:limit], len(entries) - limit


def _more(hidden: int, indent: int) -> list[RenderableType]:
    return [_indented(indent, Text(f"and {whole(hidden)} more (-v names them)", _QUIET))] if hidden else []


def _indented(indent: int, content: RenderableType) -> RenderableType:
    plain = Text(content, overflow="fold") if isinstance(content, str) else content
    return Padding(plain, (0, 0, 0, indent))
