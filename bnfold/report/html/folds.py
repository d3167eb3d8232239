"""The nodes that are gone: groups that went the same way, with a drawing before and after, and a row for each."""

from collections.abc import Sequence

from bnfold.outcome import Direction, Fold
from bnfold.report.html.chains import Chain, draw
from bnfold.report.html.drawings import before_and_after, nameless
from bnfold.report.html.entries import FAILED, Entry, Fate, Subject
from bnfold.report.html.markup import definitions, disclosure, text
from bnfold.report.html.rows import row, rows
from bnfold.report.labels import all_called
from bnfold.report.wording import brief, counted, decibels, measured, printable, times, whole
from bnfold.verification import TensorCheck

_SAID: dict[Direction, str] = {
    "upstream": "y = s\u00b7x + t of each channel goes into the operator before it",
    "downstream": "y = s\u00b7x + t of each channel goes into the operators behind it",
    "both": "the scale goes into the operator before it, the shift into those behind it",
    "merged": "another node makes the same of the same tensor",
    "across": "it goes across a tensor that others read: these take its inverse, and compute what they did",
    "removed": "it changes nothing: x \u00b7 1 + 0",
    "branch": "it was part of a branch beside others, and is a part of their one kernel now",
    "computed": "it helped to compute a weight, which is computed now",
}
_HEADINGS = ("node", "into", "error", "of its limit", "scale of weights")


def folds(subject: Subject) -> str:
    """All folds, BatchNorms first; nothing where nothing was folded."""
    gone = [entry for entry in subject.entries if isinstance(entry.node, Fold)]
    if not gone:
        return ""
    groups = _grouped(gone)
    return "".join(_group(drawing, members, named=subject.is_in_detail) for drawing, members in groups)


_Drawn = tuple[Chain, Chain]


def _grouped(entries: Sequence[Entry]) -> list[tuple[_Drawn, list[Entry]]]:
    """What looks alike, and went the same way; what failed first, then BatchNorms, then the largest groups."""
    groups: dict[tuple[Fate, Direction, str], tuple[_Drawn, list[Entry]]] = {}
    for entry in entries:
        fold = entry.node
        assert isinstance(fold, Fold)
        before, after = map(nameless, before_and_after(fold))
        key = (entry.fate, fold.direction, f"{before.described} {after.described}")
        groups.setdefault(key, ((before, after), []))[1].append(entry)
    return sorted(groups.values(), key=lambda group: _rank(group[1]))


def _rank(members: Sequence[Entry]) -> tuple[bool, bool, int]:
    return members[0].fate is not FAILED, not members[0].node.is_batch_norm, -len(members)


def _group(drawing: _Drawn, members: Sequence[Entry], *, named: bool) -> str:
    fold = members[0].node
    assert isinstance(fold, Fold)
    failed = members[0].fate is FAILED
    wrong = '<span class="bad">failed the check</span>' if failed else ""
    summary = (
        f'<span class="count">{whole(len(members))}</span><span class="pair">{draw(drawing[0])}'
        f'<span class="to">\u2192</span>{draw(drawing[1])}</span>{wrong}'
    )
    said = f'<p class="quiet">{text(_SAID.get(fold.direction, fold.direction))}</p>\n'
    content = said + rows(_HEADINGS, (_row(entry, named=named) for entry in members))
    return disclosure(summary, content, kind="group", is_open=failed)


def _row(entry: Entry, *, named: bool) -> str:
    fold = entry.node
    assert isinstance(fold, Fold)
    worst = None if entry.check is None else entry.check.worst
    cells = (_short(fold), *_figures(worst), f"\u00d7 {fold.amplification:.2g}")
    return row(entry, cells, _details(fold, worst, named=named))


def _short(fold: Fold) -> str:
    """The first node that took it, and how many others."""
    if not fold.into:
        return ""
    return printable(fold.into[0]) + (f" and {whole(len(fold.into) - 1)} more" if len(fold.into) > 1 else "")


def _figures(check: TensorCheck | None) -> tuple[str, str]:
    if check is None:
        return "-", "-"
    if not check.passed:
        return measured(check.max_rel), "failed"
    share = "-" if check.excess != check.excess else f"{check.excess:.0%}"
    return (brief(check.max_rel) if check.max_rel == check.max_rel else "-"), share


def _details(fold: Fold, check: TensorCheck | None, *, named: bool) -> str:
    drawn = ""
    if named:
        before, after = before_and_after(fold)
        drawn = (
            f"<figure><figcaption>before</figcaption>{draw(before)}</figure>"
            f"<figure><figcaption>after</figcaption>{draw(after)}</figure>"
        )
    into = all_called(fold.into) if named or len(fold.into) > 1 else ""
    dead = f"{counted(fold.dead_channels, 'channel')}: the weights are 0 there now" if fold.dead_channels else ""
    zero = f"{fold.zero_point:.2g} deviations from the mean" if fold.zero_point else ""
    return f'<div class="drawn">{drawn}</div>' * bool(drawn) + definitions(
        (
            ("into", into),
            ("through", all_called(fold.through)),
            ("dead", dead),
            ("zero point", zero),
            ("scales", _scales(fold) if named else ""),
            ("in int8", _int8(fold) if named else ""),
            *_checked(check, named=named),
        )
    )


def _checked(check: TensorCheck | None, *, named: bool) -> Sequence[tuple[str, str]]:
    if check is None:
        return (("check", "nothing outside a function or a body shows it, or nothing was compared"),) if named else ()
    if not check.passed:
        return (("failed", f"{check.name}: {check.problem}"),)
    if not named:
        return ()
    channel = "" if check.channel is None else f" in channel {check.channel}"
    noise = times(check.max_rel, check.noise_floor)
    beside = f", {noise} what rounding the original otherwise makes" if noise else ""
    nearer = {"new": "; the folded model is nearer to float64", "original": "; the original is nearer to float64"}
    return (
        ("error", f"{measured(check.max_rel)} of the channel's size{channel}{beside}{nearer.get(check.nearer, '')}"),
        ("tensor", check.name),
    )


def _scales(fold: Fold) -> str:
    """Such as "64 channels, |s| 0.57 to 1.8, 1 negative, 1 zero"."""
    scales = None if fold.surroundings is None else fold.surroundings.scales
    if scales is None:
        return ""
    odd = [(scales.negative, "negative"), (scales.zero, "zero"), (scales.tiny, "tiny"), (scales.huge, "huge")]
    counts = "".join(f", {whole(count)} {kind}" for count, kind in odd if count)
    return f"{counted(scales.channels, 'channel')}, |s| {scales.smallest:.2g} to {scales.largest:.2g}{counts}"


def _int8(fold: Fold) -> str:
    """Signal to noise of the weight that took it, if it were rounded to int8, and the channels that would be lost."""
    if fold.quantization is None:
        return ""
    before, after = fold.quantization.before, fold.quantization.after
    lost = f"; channels that would round to 0: {whole(after.vanishing)} of {whole(len(after.channels))}"
    return (
        f"signal to noise {decibels(before.per_tensor)} \u2192 {decibels(after.per_tensor)} dB with one scale, "
        f"{decibels(before.per_channel)} \u2192 {decibels(after.per_channel)} dB with one for each channel"
        f"{lost if after.vanishing else ''}"
    )
