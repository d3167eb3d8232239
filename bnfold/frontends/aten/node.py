"""What a program of aten operators is made of: values, and the nodes that make and read them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from bnfold.frontends.aten.operators.row import AtenOperator
from bnfold.regrouping import Dim
from bnfold.semantics import Opaque

Shape: TypeAlias = tuple[Dim, ...]
Argument: TypeAlias = Any
"""An AtenValue; a constant (None, bool, int, float, str, torch.dtype, ...); a list of these; or `UNKNOWN`."""
Slot: TypeAlias = tuple[str, int | None]
"""Where a node reads a tensor: the argument's name in the schema, and the place in its list where it is one."""


@dataclass(frozen=True)
class _Unknown:
    """An argument that has no place in this graph: the body of a higher-order operator, an object of a class."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(eq=False)
class AtenValue:
    """What a node makes or reads that is only known at run time, or is a tensor: tensors, and numbers made of sizes.

    Attributes:
        name: unique in the graph. A name that the lifted and the lowered program both have means the same values.
        producer: the node that makes it; None for inputs and parameters.
        readers: every use: the node and where in its arguments.
        is_input: whether the caller gives it.
        is_output: whether the caller gets it, under whatever name, or a body gives it back.
        parameter: its tensor, where the program holds it. Its values are fixed where `mutation` is "". It may be shared
            with the user's module: never write to it.
        shape: what is known of it before run time, None where even the rank is not. Equal names mean equal lengths.
        dtype: of a tensor, None where it is not known.
        edge: label of the node whose body takes it or, being an output, gives it back; "" for all others.
        mutation: label of a node that writes to its memory in a way that the graph does not tell
            (bnfold.frontends.aten.memory); "" where none does.
        shares: values that may share its memory although no node between them says so.
        origin: what the program calls it; only its own frontend looks.
    """

    name: str
    producer: "AtenNode | None" = None
    readers: list[tuple["AtenNode", Slot]] = field(default_factory=list)
    is_input: bool = False
    is_output: bool = False
    parameter: torch.Tensor | None = None
    shape: Shape | None = None
    dtype: torch.dtype | None = None
    edge: str = ""
    mutation: str = ""
    shares: "list[AtenValue]" = field(default_factory=list)
    origin: Any = None


@dataclass(eq=False)
class AtenNode:
    """An operator.

    Attributes:
        operator: what it is. An overload shows in the arguments that are there.
        arguments: all arguments of the schema by name, defaults filled in.
        outputs: the results in order, those of a list unpacked; None where nothing holds the result.
        label: for people: the module that called it, or a name from the program. Unique.
        position: smaller than that of every node that reads what it makes.
        writes: names of the arguments whose memory it writes to.
        views: names of the arguments whose memory its outputs may share, those of `writes` included.
        sealed: why it is not read, because of the body that it stands in; None where that is not so.
        normalises_instances: whether it is a part of an instance normalisation, whatever its operator.
        within: the branch or loop whose body it stands in; None outside of all.
        origin: what the program calls it; None for nodes that bnfold added.
    """

    operator: AtenOperator
    arguments: dict[str, Argument]
    outputs: list[AtenValue | None]
    label: str
    position: tuple[int, int] = (0, 0)
    writes: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()
    sealed: Opaque | None = None
    normalises_instances: bool = False
    within: "AtenNode | None" = None
    origin: Any = None

    @property
    def op(self) -> str:
        """The operator's qualified name without overload: "aten::conv2d"."""
        return self.operator.name

    @property
    def slots(self) -> list[Slot]:
        """Where its arguments hold values, in the order of the schema."""
        return [slot for slot, _ in values_in(self.arguments)]

    @property
    def inputs(self) -> list[AtenValue]:
        """The values at `slots`."""
        return [value for _, value in values_in(self.arguments)]

    def at(self, slot: Slot) -> Argument:
        """The argument at a slot."""
        name, place = slot
        argument = self.arguments[name]
        return argument if place is None else argument[place]

    @property
    def may_be_affine(self) -> bool:
        """Whether it is of an operator that can be an affine map."""
        return self.operator.may_be_affine

    @property
    def is_batch_norm(self) -> bool:
        """Whether it is a batch normalisation, in whatever form."""
        return self.operator.is_batch_norm and not self.normalises_instances


def reads_values(node: AtenNode, slot: Slot) -> bool:
    """Whether a node looks at the values of what it reads there, and not only at the form."""
    return node.operator.reads_values(slot[0])


def values_in(arguments: dict[str, Argument]) -> Iterator[tuple[Slot, AtenValue]]:
    """The values among arguments, each with where it stands."""
    for name, argument in arguments.items():
        if isinstance(argument, AtenValue):
            yield (name, None), argument
        elif isinstance(argument, (list, tuple)):
            for place, element in enumerate(argument):
                if isinstance(element, AtenValue):
                    yield (name, place), element


def values_within(argument: Argument) -> Iterator[AtenValue]:
    """The values that one argument holds, in lists of lists too."""
    if isinstance(argument, AtenValue):
        yield argument
    elif isinstance(argument, (list, tuple)):
        for element in argument:
            yield from values_within(element)
