"""Whether a node may be removed, as far as memory is concerned.

Without the node, the readers of its result read its input: two tensors become one, and a write to either is seen in
both. That does no harm where nobody reads the other afterwards. Elsewhere, the operator that writes in place becomes
its functional form, if it has one; or else the node stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bnfold.frontends.aten.memory import (
    Write,
    after,
    family_of,
    loops_around,
    who_sees,
    works_in_place,
    writes_to,
)
from bnfold.frontends.aten.node import AtenNode, AtenValue
from bnfold.frontends.aten.schema import effects_of
from bnfold.refusal import Reason, Refusal


def separations(node: AtenNode, source: int) -> list[AtenNode] | Refusal:
    """What must make tensors of its own, so that nobody notices that a node is gone.

    Args:
        node: it makes a tensor of its own, or writes to its input as `works_in_place` says.
        source: index of the input that takes its result's place.

    Returns:
        Operators in place that are to become functional; MUTATED where that is not enough.
    """
    before, behind = node.inputs[source], node.outputs[0]
    if behind is None or node.writes:
        return []
    if behind.mutation and _moves_views(before, behind):
        return Refusal(
            Reason.MUTATED,
            f"{behind.mutation!r} writes to views of {behind.name!r}, which {before.name!r} may not have",
        )
    separate: dict[AtenNode, None] = {}
    apart: set[AtenValue] = set()
    for clash in _clashes(node, before, behind):
        if clash.write.value in apart:
            continue
        if not _can_be_functional(clash.write.node):
            return Refusal(
                Reason.MUTATED,
                f"{clash.write.node.label!r} ({clash.write.node.op}) writes to {clash.write.value.name!r}, and without "
                f"{node.label!r} {clash.seen_by} would see it in {clash.through}",
            )
        separate[clash.write.node] = None
        apart.update(after(clash.write))
    return list(separate)


@dataclass(frozen=True)
class _Clash:
    """A write that would be seen where it was not."""

    write: Write
    seen_by: str
    through: str


def _clashes(node: AtenNode, before: AtenValue, behind: AtenValue) -> Iterator[_Clash]:
    families = family_of(before), family_of(behind)
    runs_once = not any(loops_around(node.within))
    sides = ((families[1], families[0], before), (families[0], families[1], behind))
    for written, others, shown in sides:
        for write in writes_to(written):
            is_over = written is families[0] and runs_once and write.node.position < node.position
            seen_by = "" if is_over else who_sees(write, others, besides=node)
            if seen_by:
                yield _Clash(write, seen_by, repr(shown.name))


def _moves_views(before: AtenValue, behind: AtenValue) -> bool:
    """Whether views of the one may be copies of the other: a fresh tensor has the strides that a BatchNorm gives it."""
    is_fresh = before.producer is not None and not before.producer.views
    return not is_fresh and any(
        reader.operator.depends_on_strides for member in family_of(behind) for reader, _ in member.readers
    )


def _can_be_functional(node: AtenNode) -> bool:
    """Whether an operator in place has a form that makes a tensor of its own, of the same type."""
    if not works_in_place(node):
        return False
    tensors = [value for value in node.inputs if value.shape != ()]
    types = {value.dtype for value in (*tensors, *node.outputs) if value is not None}
    if len(tensors) > 1 and (len(types) > 1 or None in types):
        return False
    return any(
        set(node.arguments) <= {argument.name for argument in schema.arguments} and not effects_of(schema).views
        for schema in torch._C._jit_get_schemas_for_operator(node.operator.functional)
    )
