"""The two lists of the report for people who ask for all: the nodes that folded, and the nodes that stay."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bnfold.outcome import Direction, Fold, Kept
from bnfold.refusal import Refusal
from bnfold.report.grouping import KeptGroup, group_folds, group_kept
from bnfold.report.labels import all_called, called
from bnfold.report.model import ReportData
from bnfold.report.text_layout import CODE, HEADING, QUIET, Hanging, indented, labelled
from bnfold.report.verdicts import WHERE
from bnfold.report.wording import counted, printable, whole

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


def crossed_in_short(folds: Sequence[Fold]) -> list[RenderableType]:
    """The row on folds whose map crossed tensors that others read; nothing where none did."""
    count = sum(fold.direction == "across" for fold in folds)
    if not count:
        return []
    crossed = "1 fold crosses tensors" if count == 1 else f"{whole(count)} folds cross tensors"
    return [labelled("Across", [f"{crossed} that others read; those take the inverse"])]


def folded_nodes(report: ReportData) -> list[RenderableType]:
    """Every node that was folded, and into what; nothing where none was."""
    lines: list[RenderableType] = []
    for group in group_folds(report.outcome.folds):
        lines.append(indented(2, f"{whole(len(group.folds))} {printable(group.op)} {_WHERE[group.direction]}"))
        lines += [indented(4, _fold(fold)) for fold in group.folds]
    return [Text("Folded" if report.is_done else "Would be folded", HEADING), *lines] if lines else []


def _fold(fold: Fold) -> RenderableType:
    """Such as "BatchNormalization 246 -> Conv 245"; the node alone where it went nowhere."""
    where = ""
    if fold.direction == "across":
        nodes = counted(len(fold.into), "node")
        where = f"-> {nodes} changed, zero point {fold.zero_point:.2g} deviations from the mean"
    elif fold.into:
        where = f"-> {all_called(fold.into)}"
        where += f" through {all_called(fold.through)}" if fold.through else ""
        where += f", {counted(fold.dead_channels, 'dead channel')}" if fold.dead_channels else ""
    return Hanging(called(fold.node), where)


def kept_nodes(kept: Sequence[Kept]) -> list[RenderableType]:
    """Every node that stays with every reason, BatchNorms first; nothing where nothing stays."""
    lines: list[RenderableType] = []
    for group in group_kept(node for node in kept if node.is_batch_norm):
        lines += _kept_group(group, "BatchNorm")
    for group in group_kept(node for node in kept if not node.is_batch_norm):
        lines += _kept_group(group, "other affine node")
    return [Text("Stays", HEADING), *lines] if lines else []


def _kept_group(group: KeptGroup, noun: str) -> list[RenderableType]:
    reason = group.reason
    head = Text.assemble((reason.code, CODE), f" {reason.slug}: {counted(len(group.nodes), noun)}")
    lines: list[RenderableType] = [indented(2, head), indented(2, Text(reason.meaning, QUIET))]
    for node in group.nodes:
        lines.append(indented(4, printable(node.node) if node.is_batch_norm else called(node.node)))
        lines.append(indented(6, _evidence(node)))
    return lines


def _evidence(node: Kept) -> Table:
    """A row for each way that was tried: how far it went, and what ended it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=QUIET, no_wrap=True)
    table.add_column(overflow="fold")
    for refusal in node.refusals:
        ended = Text.assemble(f"{_path(refusal)}{printable(refusal.evidence)} (", (refusal.reason.code, CODE), ")")
        table.add_row(WHERE[refusal.way], ended)
        if refusal.hint:
            table.add_row("note", printable(refusal.hint))
    return table


def _path(refusal: Refusal) -> str:
    """Such as "<- MaxPool pool: ", from behind the node; nothing where the way ends at the node itself."""
    arrow = "<-" if refusal.way == "upstream" else "->"
    steps = " ".join(f"{arrow} {called(label)}" for label in refusal.path[1:])
    return f"{steps}: " if steps else ""
