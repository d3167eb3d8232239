"""The BatchNorms that other operators stand for, in the report for people."""

from collections import Counter
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from bnfold.outcome import Lowered, Outcome
from bnfold.refusal import Refusal
from bnfold.report.text_layout import HEADING, indented, labelled
from bnfold.report.wording import counted, printable, whole


def lowered_in_short(outcome: Outcome) -> list[RenderableType]:
    """The row on what BatchNorms were rewritten into, and why some were not; nothing where none was to be."""
    lines: list[RenderableType] = [
        f"{counted(len(group), 'BatchNorm')} to {_became(operators)}"
        for operators, group in _by_operators(outcome.lowered).items()
    ]
    stay = [kept.not_lowered for kept in outcome.kept if kept.not_lowered is not None]
    if stay:
        lines.append(f"{counted(len(stay), 'BatchNorm')} could not be: {_reasons(stay)}")
    return [labelled("Lowered", lines)] if lines else []


def lowered_nodes(outcome: Outcome) -> list[RenderableType]:
    """Every one of them, with why it could not fold, and those that could not be rewritten; nothing without any."""
    lines: list[RenderableType] = []
    for operators, group in _by_operators(outcome.lowered).items():
        lines.append(indented(2, f"{counted(len(group), 'BatchNorm')} to {_became(operators)}"))
        lines += [indented(4, _said(node.node, node.refusals[0])) for node in group]
    stay = [(kept.node, kept.not_lowered) for kept in outcome.kept if kept.not_lowered is not None]
    if stay:
        lines.append(indented(2, f"{counted(len(stay), 'BatchNorm')} could not be"))
        lines += [indented(4, _said(name, refusal)) for name, refusal in stay]
    return [Text("Lowered", HEADING), *lines] if lines else []


def _by_operators(lowered: Sequence[Lowered]) -> dict[tuple[str, ...], list[Lowered]]:
    groups: dict[tuple[str, ...], list[Lowered]] = {}
    for node in lowered:
        groups.setdefault(node.operators, []).append(node)
    return groups


def _became(operators: Sequence[str]) -> str:
    return " + ".join(map(printable, operators)) or "operators that were folded"


def _reasons(refusals: Sequence[Refusal]) -> str:
    """Such as "52 other-consumers (BNF201), 3 graph-output (BNF202)"."""
    counts = Counter(refusal.reason for refusal in refusals)
    return ", ".join(f"{whole(count)} {reason.slug} ({reason.code})" for reason, count in counts.most_common())


def _said(name: str, refusal: Refusal) -> str:
    return f"{printable(name)}: {printable(refusal.evidence)} ({refusal.reason.code})"
