"""The first rows of the report for people: what there was, and what there is now."""

from collections import Counter

from rich.console import RenderableType
from rich.table import Table

from bnfold.outcome import Fold, Kept
from bnfold.report.model import ReportData, Tally
from bnfold.report.text_layout import HEADING, LABEL_WIDTH, indented
from bnfold.report.wording import file_sizes, printable, whole

_MOST_OPERATORS = 2


def sizes(report: ReportData, *, verbose: bool) -> list[RenderableType]:
    """BatchNorms, other affine nodes, nodes and the file, before and after, in one table.

    Args:
        report: what happened.
        verbose: count the numbers in the weights as well.
    """
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=LABEL_WIDTH + 1, style=HEADING, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    batch_norms, others = report.batch_norms, report.affine_nodes
    if batch_norms.found:
        _add(table, "BatchNorms", whole(batch_norms.found), whole(batch_norms.kept), _fate(batch_norms, report))
    else:
        table.add_row("BatchNorms", "none", "", "", "")
    if others.found:
        _add(table, _operators(report), whole(others.found), whole(others.kept), _fate(others, report))
    _add(table, "nodes", whole(report.nodes.before), whole(report.nodes.after))
    if verbose:
        _add(table, "parameters", whole(report.parameters.before), whole(report.parameters.after))
    if not report.planned:  # nobody knows before it is written
        before, after, unit = file_sizes(report.bytes.before, report.bytes.after)
        _add(table, "file", before, f"{after} {unit}")
    return [indented(2, table)]


def _add(table: Table, label: str, before: str, after: str, note: str = "") -> None:
    table.add_row(label, before, "->", after, f" {note}" if note else "")


def _fate(tally: Tally, report: ReportData) -> str:
    """Such as "20 folded, 8 identities removed, 2 left"; where there is no folded model, what would be."""
    folded, left = whole(tally.folded - tally.identities), whole(tally.kept)
    identities = f"{whole(tally.identities)} {'identity' if tally.identities == 1 else 'identities'}"
    parts = []
    if tally.folded > tally.identities or not tally.identities:
        parts.append(f"{folded} folded" if report.is_done else f"fold {folded}")
    if tally.identities:
        parts.append(f"{identities} removed" if report.is_done else f"remove {identities}")
    if tally.lowered:
        lowered = whole(tally.lowered)
        parts.append(f"{lowered} lowered" if report.is_done else f"lower {lowered}")
    if tally.kept:
        parts.append(f"{left} left" if report.is_done else f"leave {left}")
    return ("" if report.is_done else "would ") + ", ".join(parts)


def _operators(report: ReportData) -> str:
    """What the affine nodes are that are no BatchNorms, the most frequent first: "Mul, Add", "Mul, Add ..."."""
    entries: tuple[Fold | Kept, ...] = (*report.outcome.folds, *report.outcome.kept)
    found = Counter(printable(entry.op.rpartition("::")[2]) for entry in entries if not entry.is_batch_norm)
    names = [name for name, _ in found.most_common()]
    label = ", ".join(names[:_MOST_OPERATORS]) + (" ..." if len(names) > _MOST_OPERATORS else "")
    return label if len(label) <= LABEL_WIDTH else "others"
