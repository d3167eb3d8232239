"""Search, filter and order of the rows, for browsers that run the script; without it, they are not shown."""

from collections.abc import Sequence

from bnfold.report.html.entries import FATES, Subject

_ORDERS = (
    ("graph", "order of the graph"),
    ("name", "name"),
    ("2", "error"),
    ("3", "share of its limit"),
    ("4", "growth"),
)


def tools(subjects: Sequence[Subject]) -> str:
    """The controls, hidden until the script shows them; nothing where there are no rows."""
    entries = [entry for subject in subjects for entry in subject.entries]
    if not entries:
        return ""
    there = {entry.fate for entry in entries}
    fates = _options("every fate", [(fate.kind, fate.name) for fate in FATES if fate in there])
    outcomes = [subject.report.outcome for subject in subjects]
    refused = [node.refusals for outcome in outcomes for node in outcome.kept]
    refused += [node.refusals for outcome in outcomes for node in outcome.lowered]
    found = {refusal.reason.code for refusals in refused for refusal in refusals}
    codes = _options("every code", [(code, code) for code in sorted(found)])
    orders = "".join(f'<option value="{value}">{name}</option>' for value, name in _ORDERS)
    return (
        '<form class="tools" role="search" hidden>\n'
        '<label>Search <input type="search" name="words" autocomplete="off" placeholder="names, operators"></label>\n'
        f'<label>Fate <select name="fate">{fates}</select></label>\n'
        f'<label>Code <select name="code">{codes}</select></label>\n'
        f'<label>Order <select name="order">{orders}</select></label>\n'
        '<output aria-live="polite"></output>\n</form>\n'
    )


def _options(everything: str, options: Sequence[tuple[str, str]]) -> str:
    return f'<option value="">{everything}</option>' + "".join(
        f'<option value="{value}">{name}</option>' for value, name in options
    )
