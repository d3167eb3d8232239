"""Which values of a graph share memory, which operators write to it, and who sees that.

The graph says what reads what, and not when. So a write is safe to reason about only where all later readers of that
memory read the result of the operator that wrote: there, an in-place operator equals its functional form. All other
values that share the memory are marked as mutated, and no fold changes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.node import AtenNode, AtenValue, reads_values
from bnfold.frontends.aten.registry import changes_form


@dataclass(frozen=True)
class Write:
    """A node changes the memory that a value shows."""

    node: AtenNode
    value: AtenValue

    @property
    def returns_it(self) -> bool:
        """Whether this is all that the node writes to, and its one result is the tensor as it is then."""
        node = self.node
        return (
            node.operator.is_in_place
            and node.writes == frozenset({"self"})
            and len(node.outputs) == 1
            and node.outputs[0] is not None
        )


def settle_writes(graph: AtenGraph) -> None:
    """Set `mutation` of every value whose memory changes in a way that the graph does not tell."""
    _join_parameters(graph)
    settled: set[AtenValue] = set()
    for node in graph.nodes:
        for value in written(node):
            if value not in settled:
                family = family_of(value)
                settled.update(family)
                unclear = next((write for write in writes_to(family) if not _is_told(write, family)), None)
                if unclear is not None:
                    mark(family, unclear.node.label)


def mark(values: Iterable[AtenValue], label: str) -> None:
    """Note that a node changes the memory of these values; what is noted already stays."""
    for value in values:
        value.mutation = value.mutation or label


def written(node: AtenNode) -> list[AtenValue]:
    """The values whose memory a node writes to."""
    names = set(node.writes)
    if node.arguments.get(node.operator.trains_by, False) is not False:
        names |= {"running_mean", "running_var"}
    return [value for slot, value in zip(node.slots, node.inputs, strict=True) if slot[0] in names]


def works_in_place(node: AtenNode) -> bool:
    """Whether it is the in-place form of a functional operator, and the graph tells all that its write does."""
    return bool(node.writes) and all(Write(node, value).returns_it and not value.mutation for value in written(node))


def family_of(value: AtenValue) -> dict[AtenValue, None]:
    """All values that may share memory with one, itself included."""
    family: dict[AtenValue, None] = {}
    waiting = [value]
    while waiting:
        member = waiting.pop()
        if member not in family:
            family[member] = None
            waiting += _sources(member)
            waiting += _views(member)
            waiting += member.shares
    return family


def writes_to(family: Iterable[AtenValue]) -> list[Write]:
    """Every write to the memory of a family, in the order of the program."""
    found = [
        Write(reader, member)
        for member in family
        for reader in dict.fromkeys(node for node, _ in member.readers)
        if member in written(reader)
    ]
    return sorted(found, key=lambda write: write.node.position)


def after(write: Write) -> dict[AtenValue, None]:
    """The values that show the memory as it is after a write: the node's result and what is a view of that."""
    shown: dict[AtenValue, None] = {}
    waiting = [value for value in write.node.outputs if value is not None] if write.returns_it else []
    while waiting:
        value = waiting.pop()
        if value not in shown:
            shown[value] = None
            waiting += _views(value)
    return shown


def who_sees(write: Write, values: Iterable[AtenValue], besides: AtenNode | None = None) -> str:
    """Who looks at one of these values at the time of a write or later; "" where nobody does.

    Args:
        write: the write.
        values: that may share its memory.
        besides: a node that does not count.
    """
    for value in values:
        if value.is_output:
            return "the caller"
        if value.producer is None:
            return "the program's state" if value.parameter is not None else "whoever gave it"
        for node, slot in value.readers:
            if node is besides or (node is write.node and slot[0] in node.writes):
                continue
            looks = reads_values(node, slot) or changes_form(write.node.op)
            if looks and _may_be_later(node, write, value):
                return repr(node.label)
    return ""


def _is_told(write: Write, family: Iterable[AtenValue]) -> bool:
    """Whether nobody looks at the memory later but through the result."""
    shown = after(write)
    return write.returns_it and not who_sees(write, [value for value in family if value not in shown])


def _may_be_later(node: AtenNode, write: Write, value: AtenValue) -> bool:
    """Whether a node may run after a write: the next round of a loop sees again what is made outside of the loop."""
    if node.position >= write.node.position:
        return True
    loops = set(loops_around(write.node.within))
    around = {loop for loop in loops_around(node.within) if loop in loops}
    return bool(around) and any(
        around - set(loops_around(member.producer.within if member.producer is not None else None))
        for member in family_of(value)
    )


def loops_around(branch: AtenNode | None) -> Iterator[AtenNode]:
    """What may run a place several times, from the innermost."""
    while branch is not None:
        if branch.op != "prim::If":
            yield branch
        branch = branch.within


def _sources(value: AtenValue) -> list[AtenValue]:
    node = value.producer
    if node is None or not node.views:
        return []
    return [source for slot, source in zip(node.slots, node.inputs, strict=True) if slot[0] in node.views]


def _views(value: AtenValue) -> list[AtenValue]:
    return [
        output for node, slot in value.readers if slot[0] in node.views for output in node.outputs if output is not None
    ]


def _join_parameters(graph: AtenGraph) -> None:
    """Parameters that are stored in one place share it."""
    stored: dict[int, AtenValue] = {}
    for value in graph.inputs:
        place = None if value.parameter is None else storage_of(value.parameter)
        if place is not None:
            join([stored.setdefault(place, value), value])


def storage_of(tensor: torch.Tensor) -> int | None:
    """Where a tensor is stored; None where it is not stored as numbers in a row, or is empty."""
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr()


def join(values: Iterable[AtenValue]) -> None:
    """Say of values that they may share memory, where no node between them says it."""
    several = list(dict.fromkeys(values))
    for value, other in pairwise(several):
        value.shares.append(other)
        other.shares.append(value)
