"""How nodes are called for people: by label, and with their operator where the label does not say it."""

from collections.abc import Iterable

from bnfold.label import Label
from bnfold.report.wording import printable


def operator_of(label: str) -> str:
    """The operator type of the node with this label, as the file spells it; "" where nobody noted it."""
    return label.op if isinstance(label, Label) else ""


def called(label: str) -> str:
    """Such as "Conv 245", but "conv1" for a Conv of that name."""
    operator = operator_of(label).rpartition("::")[2]
    if not operator or operator.lower() in label.lower():
        return printable(label)
    return f"{printable(operator)} {printable(label)}"


def all_called(labels: Iterable[str]) -> str:
    """The same of several nodes, with commas between them."""
    return ", ".join(map(called, labels))
