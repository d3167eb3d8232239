"""What folding did to an AtenGraph, change by change. Lowering repeats it on a copy of the program, in this order.

Nodes and values that the program has carry its own names in `origin`; those that bnfold added have None there, and
lowering keeps a table of its own from them to what it made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from bnfold.frontends.aten.node import AtenNode, AtenValue, Slot


@dataclass(frozen=True, eq=False)
class ParameterChanged:
    """A parameter of the program has other values now: those of `value.parameter` at the end of the journal."""

    value: AtenValue


@dataclass(frozen=True, eq=False)
class ArgumentSet:
    """A node reads something else in one place: a constant, or a value, maybe a parameter that is new."""

    node: AtenNode
    slot: Slot
    argument: Any


@dataclass(frozen=True, eq=False)
class OperatorReplaced:
    """A node is another operator with the same outputs. Arguments that are not named have the schema's defaults."""

    node: AtenNode
    op: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class NodeAdded:
    """`node` stands right behind `after`, whose first output is `inner` from now on; `node` makes `result` of it.

    Everything that read `result` goes on reading it: it is made by another node now.
    """

    node: AtenNode
    after: AtenNode
    inner: AtenValue
    result: AtenValue


@dataclass(frozen=True, eq=False)
class NodeRemoved:
    """A node is gone: who read `output` reads `replacement`; None where nobody read it."""

    node: AtenNode
    output: AtenValue
    replacement: AtenValue | None


@dataclass(frozen=True, eq=False)
class Renamed:
    """A value is called `name` from here on. Several changes may rename one value; the last counts."""

    value: AtenValue
    name: str


JournalEntry: TypeAlias = ParameterChanged | ArgumentSet | OperatorReplaced | NodeAdded | NodeRemoved | Renamed
