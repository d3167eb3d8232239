"""A change of one node: which arguments change, in the operator's own layout, rounded once and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnfold.frontends.aten.node import AtenNode, AtenValue, Slot
from bnfold.frontends.common.parameters import NewParameter


@dataclass(frozen=True, eq=False)
class Successor:
    """An operator that stands in the place of another.

    Attributes:
        op: qualified name without overload.
        operand: the argument that is what stands before it.
        tensors: new parameters, by argument.
        arguments: the other arguments of the schema.
    """

    op: str
    operand: str
    tensors: Mapping[str, NewParameter]
    arguments: Mapping[str, int | Sequence[int]]


@dataclass(frozen=True, eq=False)
class AtenEdit:
    """A change of one node that can be carried out without further questions.

    Attributes:
        node: the node.
        parameters: new values of tensors by slot, also where there was None or a number.
        numbers: arguments that become plain numbers.
        op: what the operator becomes; "" leaves it.
        moved: where it becomes another: its arguments, by the names that they have now.
        added: where it becomes another: tensors that it did not have.
        bias_behind: what an addition right behind the node adds; None where there is none.
        lists: arguments that become other lists or numbers.
        further: changes of nodes that this one stands for.
        renamed: tensors inside of it that hold other values then.
        successors: where it goes: what stands in its place, in a row.
    """

    node: AtenNode
    parameters: Mapping[Slot, NewParameter]
    numbers: Mapping[str, float] = field(default_factory=dict)
    op: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, NewParameter] = field(default_factory=dict)
    bias_behind: NewParameter | None = None
    lists: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    further: Sequence["AtenEdit"] = ()
    renamed: Sequence[AtenValue] = ()
    successors: Sequence[Successor] = ()
