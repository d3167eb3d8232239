"""Which arguments an operator writes to, and which its results may share memory with."""

import re
from dataclasses import dataclass

import torch

from bnfold.frontends.aten.operators.table import operator_of


@dataclass(frozen=True)
class MemoryEffects:
    """What an operator does to memory, by names of arguments. See `bnfold.frontends.aten.graph.Node`."""

    writes: frozenset[str]
    views: frozenset[str]


def effects_of(schema: torch.FunctionSchema) -> MemoryEffects:
    """Read a schema's alias annotations, and what is known beyond them.

    What changes a list or a dict changes no tensor, but from then on its elements are seen through it.
    """
    aliases = {argument.name: argument.alias_info for argument in schema.arguments}
    types = {argument.name: str(argument.type) for argument in schema.arguments}
    writes = frozenset(
        name for name, alias in aliases.items() if alias is not None and alias.is_write and "Tensor" in types[name]
    )
    views = frozenset(name for name, alias in aliases.items() if alias is not None)
    known = operator_of(schema.name)
    if known.changes_no_values:
        writes = frozenset()
    if known.may_return_input or any(_holds_anything(text) for text in types.values()):
        views |= {name for name, text in types.items() if "Tensor" in text or _holds_anything(text)}
    return MemoryEffects(writes, views)


def _holds_anything(text: str) -> bool:
    """Whether a type stands for whatever it is used with, or is a container of such: List[t], Dict(str, t), Any."""
    return re.search(r"\b(t|t[0-9]|tVal|Any|AnyList\w*|AnyTuple\w*|AnyClass\w*)\b", text) is not None
