"""All BatchNorms in the order of the graph, one cell each, by their fate: colour, height and filling say the same."""

from collections import Counter

from bnfold.report.html.entries import FATES, Entry, Subject
from bnfold.report.html.markup import text
from bnfold.report.wording import counted, whole

_SIZES = ((250, "large"), (1500, "medium"))


def strip(subject: Subject) -> str:
    """A link to every BatchNorm, and what the cells mean; nothing where there is none."""
    entries = subject.batch_norms
    if not entries:
        return ""
    size = next((name for most, name in _SIZES if len(entries) <= most), "small")
    cells = "".join(
        f'<a class="{entry.fate.kind}" href="#{entry.anchor}"{_title(entry) if subject.is_in_detail else ""}>'
        f"{index}</a>"
        for index, entry in enumerate(entries, 1)
    )
    label = f"{counted(len(entries), 'BatchNorm')} in the order of the graph"
    return (
        f'<h2>{label}</h2>\n<div class="strip {size}" role="group" aria-label="{label}">{cells}</div>\n'
        f"{_legend(subject)}"
    )


def _title(entry: Entry) -> str:
    """What is shown under the pointer; of thousands, the script writes that when it is asked for."""
    return f' title="{text(entry.node.node)}: {entry.fate.name}"'


def _legend(subject: Subject) -> str:
    counts = Counter(entry.fate for entry in subject.batch_norms)
    items = "".join(
        f'<li><span class="strip large"><b class="{fate.kind}"></b></span> {whole(counts[fate])} {fate.name}</li>\n'
        for fate in FATES
        if counts[fate]
    )
    return f'<ul class="legend">\n{items}</ul>\n'
