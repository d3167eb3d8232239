"""Scales of the BatchNorms, and ranges of the weights before and after: what int8 with one scale for all would see."""

from collections.abc import Callable

from bnfold.int8 import WeightRange
from bnfold.outcome import Fold, Quantization
from bnfold.report.html.entries import Entry, Subject
from bnfold.report.html.markup import paragraph, table
from bnfold.report.html.plots import Marks, plot, shares
from bnfold.report.labels import called
from bnfold.report.quantization import suffering
from bnfold.report.wording import decibels, whole
from bnfold.scales import FAR, ScaleSummary

_ESTIMATED = (
    "Estimated ratio of signal to rounding noise, with one int8 scale for the tensor and with one for each channel."
)
_LONG = "A long stroke is a weight whose channels differ much: one int8 scale for all of them hurts."


def weights(subject: Subject) -> str:
    """Two plots and a table; nothing where no BatchNorm has scales and no weight took any."""
    drawn = _scales(subject) + _ranges(subject)
    plots = f'<div class="plots">{drawn}</div>\n' if drawn else ""
    return plots + _int8(subject)


def _scales(subject: Subject) -> str:
    found = [scales for entry in subject.batch_norms if (scales := _of(entry)) is not None]
    if not found:
        return ""
    drawn = plot(
        [
            Marks("smallest to largest |scale|", "whisker", [(each.smallest, each.largest) for each in found]),
            Marks("quartiles", "box", [(each.lower_quartile, each.upper_quartile) for each in found]),
            Marks("median", "dot", [(each.median, each.median) for each in found]),
        ],
        "scales of all BatchNorms, channel by channel",
        subject.columns,
    )
    counts: tuple[tuple[str, Callable[[ScaleSummary], int]], ...] = (
        ("negative", lambda each: each.negative),
        ("zero", lambda each: each.zero),
        ("tiny", lambda each: each.tiny),
        ("huge", lambda each: each.huge),
    )
    below = "".join(
        shares(
            name, [count(each) / max(each.channels, 1) for each in found], f"share of {name} scales", subject.columns
        )
        for name, count in counts
    )
    note = f"Rows below: share of the channels. Tiny and huge: {FAR:g} times from the median." if below else ""
    return (
        f"<figure><figcaption>Scales of the BatchNorms, channel by channel</figcaption>{drawn}{below}"
        f"{paragraph(note, 'quiet') if note else ''}</figure>"
    )


def _of(entry: Entry) -> ScaleSummary | None:
    return None if entry.node.surroundings is None else entry.node.surroundings.scales


def _ranges(subject: Subject) -> str:
    found = [quantization for entry in subject.entries if (quantization := _quantization(entry)) is not None]
    if not found:
        return ""
    drawn = plot(
        [
            Marks("before: least to greatest max |W| of a channel", "old", [_range(each.before) for each in found]),
            Marks("after", "range", [_range(each.after) for each in found]),
        ],
        "ranges of weights before and after",
        subject.columns,
    )
    return (
        f"<figure><figcaption>Weights before and after they took a map</figcaption>{drawn}"
        f"{paragraph(_LONG, 'quiet')}"
        "</figure>"
    )


def _quantization(entry: Entry) -> Quantization | None:
    return entry.node.quantization if isinstance(entry.node, Fold) else None


def _range(weight: WeightRange) -> tuple[float, float]:
    return weight.smallest, weight.largest


def _int8(subject: Subject) -> str:
    """The weights that int8 suits much less than before."""
    found = suffering(subject.report.outcome.folds, subject.report.outcome.merges)
    if not found:
        return ""
    columns = (
        ("weight of", "name"),
        ("max |W| of channels", "number"),
        ("dB", "number"),
        ("dB per channel", "number"),
        ("channels that round to 0", "number"),
        ("what to do", ""),
    )
    rows = []
    for entry in found:
        both = (entry.quantization.before, entry.quantization.after)
        rows.append(
            (
                called(entry.weight),
                " \u2192 ".join(f"{weight.smallest:.2g} to {weight.largest:.2g}" for weight in both),
                " \u2192 ".join(decibels(weight.per_tensor) for weight in both),
                " \u2192 ".join(decibels(weight.per_channel) for weight in both),
                f"{whole(both[0].vanishing)} \u2192 {whole(both[1].vanishing)} of {whole(len(both[1].channels))}",
                entry.advice,
            )
        )
    return f"<h3>Weights that suit int8 worse than before</h3>\n{paragraph(_ESTIMATED, 'quiet')}{table(columns, rows)}"
