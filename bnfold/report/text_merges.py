"""Two parts of the report for people: the branches that merged or stay apart, and what int8 makes of the weights."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from bnfold.outcome import Apart, Fold, Merge
from bnfold.report.labels import called
from bnfold.report.quantization import ADVICE, Suffering, suffering
from bnfold.report.wording import counted, printable, whole

_EXAMPLES = 3
_HEADING = "bold"
_CODE = "bold yellow"
_QUIET = "dim"


def merged_branches(merges: Sequence[Merge], *, verbose: bool) -> list[RenderableType]:
    """What became one operator; nothing where nothing did.

    Args:
        merges: in the order of the report.
        verbose: name every merge, not the first few.
    """
    if not merges:
        return []
    before, after = (sum(getattr(merge.operators, when) for merge in merges) for when in ("before", "after"))
    branches = sum(merge.branches for merge in merges if merge.branches > 1)
    rows = sum(merge.branches == 1 for merge in merges)
    parts = [f"{counted(branches, 'parallel branch', 'es')} into {whole(len(merges) - rows)}"] if branches else []
    parts += [f"{counted(rows, 'row')} of operators into one each"] if rows else []
    lines: list[RenderableType] = [
        _indented(2, f"{', '.join(parts)}: {whole(before)} operators became {whole(after)}"),
    ]
    shown = merges if verbose or len(merges) <= _EXAMPLES + 1 else merges[:_EXAMPLES]
    lines += [_indented(4, _merge(merge)) for merge in shown]
    return [Text("Merged", _HEADING), *lines, *_more(len(merges) - len(shown))]


def _merge(merge: Merge) -> str:
    """Such as "stem.add: 3 branches into stem.conv, 1,024 multiply-adds for each place, not 1,152"."""
    adds = merge.multiply_adds
    less = f", not {whole(adds.before)}" if adds.before != adds.after else " as before"
    what = f"{merge.branches} branches" if merge.branches > 1 else f"{merge.operators.before} operators in a row"
    return (
        f"{printable(merge.tensor)}: {what} into {called(merge.into)}, {whole(adds.after)} multiply-adds a place{less}"
    )


def branches_apart(apart: Sequence[Apart], *, verbose: bool) -> list[RenderableType]:
    """Sums of which branches stay apart, and the first reason of each; nothing where there are none."""
    if not apart:
        return []
    shown = apart if verbose or len(apart) <= _EXAMPLES + 1 else apart[:_EXAMPLES]
    lines: list[RenderableType] = []
    for entry in shown:
        for refusal in entry.refusals if verbose else entry.refusals[:1]:
            head = Text.assemble((refusal.reason.code, _CODE), f" {called(entry.node)}: {printable(refusal.evidence)}")
            lines.append(_indented(2, head))
    return [Text("Branches that stay apart", _HEADING), *lines, *_more(len(apart) - len(shown))]


def quantized_weights(folds: Sequence[Fold], merges: Sequence[Merge], *, verbose: bool) -> list[RenderableType]:
    """The weights that int8 suits much less than before; nothing where there are none."""
    found = suffering(folds, merges)
    if not found:
        return []
    shown = found if verbose or len(found) <= _EXAMPLES + 1 else found[:_EXAMPLES]
    lines: list[RenderableType] = [_indented(2, Text(ADVICE, _QUIET))]
    lines += [_indented(4, _suffering(entry)) for entry in shown]
    return [
        Text(f"In int8, {counted(len(found), 'weight')} would lose much", _HEADING),
        *lines,
        *_more(len(found) - len(shown)),
    ]


def _suffering(entry: Suffering) -> str:
    before, after = entry.quantization.before, entry.quantization.after
    return (
        f"{called(entry.weight)}: {before.per_tensor:.0f} dB before, {after.per_tensor:.0f} dB after, "
        f"{after.per_channel:.0f} dB with a scale for each channel"
    )


def _more(hidden: int) -> list[RenderableType]:
    return [_indented(4, Text(f"and {whole(hidden)} more (-v names them)", _QUIET))] if hidden else []


def _indented(indent: int, content: str | Text) -> RenderableType:
    return Padding(Text(content, overflow="fold") if isinstance(content, str) else content, (0, 0, 0, indent))
