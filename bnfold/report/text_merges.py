"""What the report for people says of branches that merged or stay apart, and of what int8 makes of the weights."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from bnfold.outcome import Apart, Fold, Merge
from bnfold.report.labels import called
from bnfold.report.quantization import Suffering, suffering
from bnfold.report.text_layout import CODE, HEADING, QUIET, indented, labelled
from bnfold.report.wording import counted, printable, whole

_EXAMPLES = 1


def merged_in_short(merges: Sequence[Merge]) -> list[RenderableType]:
    """The row on what became one operator; nothing where nothing did."""
    if not merges:
        return []
    branches = [merge for merge in merges if merge.branches > 1]
    rows = len(merges) - len(branches)
    parts = []
    if branches:
        count = sum(merge.branches for merge in branches)
        parts.append(f"{counted(count, 'parallel branch', 'es')} into {counted(len(branches), 'operator')}")
    if rows:
        parts.append(f"{counted(rows, 'row')} of operators into one each")
    return [labelled("Merged", [", ".join(parts)])]


def merged_branches(merges: Sequence[Merge]) -> list[RenderableType]:
    """Everything that became one operator, by name; nothing where nothing did."""
    if not merges:
        return []
    before, after = (sum(getattr(merge.operators, when) for merge in merges) for when in ("before", "after"))
    head = Text.assemble(("Merged", HEADING), f"  {whole(before)} operators -> {whole(after)}")
    return [head, *(indented(2, _merge(merge)) for merge in merges)]


def _merge(merge: Merge) -> str:
    """Such as "stem.add: 3 branches -> stem.conv, 1,024 multiply-adds a place, not 1,152"."""
    adds = merge.multiply_adds
    less = f", not {whole(adds.before)}" if adds.before != adds.after else " as before"
    what = f"{merge.branches} branches" if merge.branches > 1 else f"{merge.operators.before} operators in a row"
    return f"{printable(merge.tensor)}: {what} -> {called(merge.into)}, {whole(adds.after)} multiply-adds a place{less}"


def branches_apart(apart: Sequence[Apart]) -> list[RenderableType]:
    """Sums of which branches stay apart, and every reason; nothing where there are none."""
    if not apart:
        return []
    lines: list[RenderableType] = []
    for entry in apart:
        for refusal in entry.refusals:
            head = Text.assemble((refusal.reason.code, CODE), f" {called(entry.node)}: {printable(refusal.evidence)}")
            lines.append(indented(2, head))
    return [Text("Branches that stay apart", HEADING), *lines]


def quantized_weights(folds: Sequence[Fold], merges: Sequence[Merge], *, verbose: bool) -> list[RenderableType]:
    """The row on weights that int8 suits much less than before; nothing where there are none."""
    found = suffering(folds, merges)
    if not found:
        return []
    said = f"{counted(len(found), 'weight')} {'suits' if len(found) == 1 else 'suit'} int8 worse than before"
    shown = found if verbose else found[:_EXAMPLES]
    lines: list[RenderableType] = [f"{said}{'' if verbose or len(found) == 1 else ', the worst is'}"]
    for entry in shown:
        lines += [indented(2, _suffering(entry)), indented(2, Text(entry.advice, QUIET))]
    return [labelled("In int8", lines)]


def _suffering(entry: Suffering) -> str:
    before, after = entry.quantization.before, entry.quantization.after
    lost = f"{whole(before.vanishing)} -> {whole(after.vanishing)} of {whole(len(after.channels))}"
    return (
        f"{called(entry.weight)}: signal to noise {before.per_tensor:.0f} -> {after.per_tensor:.0f} dB, "
        f"{after.per_channel:.0f} dB with a scale for each channel"
        + (f"; channels that round to 0: {lost}" if after.vanishing else "")
    )
