"""Which arguments an operator writes to, and which its results may share memory with."""

import re
from dataclasses import dataclass

import torch

# They may return what they were given, and their schemas do not say so.
_SILENT_VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "_unsafe_view",
        "alpha_dropout",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "broadcast_tensors",
        "cartesian_prod",
        "chain_matmul",
        "channel_shuffle",
        "conj_physical",
        "dropout",
        "einsum",
        "feature_alpha_dropout",
        "feature_dropout",
        "flatten",
        "linalg_multi_dot",
        "meshgrid",
        "pin_memory",
        "pixel_shuffle",
        "pixel_unshuffle",
        "set_",
        "sum_to_size",
        "to_dense",
        "type_as",
        "unsafe_chunk",
        "unsafe_split",
        "unsafe_split_with_sizes",
    )
)


@dataclass(frozen=True)
class Traits:
    """What an operator does to memory, by names of arguments. See `bnfold.frontends.aten.graph.Node`."""

    writes: frozenset[str]
    views: frozenset[str]


def traits(schema: torch.FunctionSchema) -> Traits:
    """Read a schema's alias annotations, and what is known beyond them.

    What changes a list or a dict changes no tensor, but from then on its elements are seen through it.
    """
    aliases = {argument.name: argument.alias_info for argument in schema.arguments}
    types = {argument.name: str(argument.type) for argument in schema.arguments}
    writes = frozenset(
        name for name, alias in aliases.items() if alias is not None and alias.is_write and "Tensor" in types[name]
    )
    views = frozenset(name for name, alias in aliases.items() if alias is not None)
    if schema.name == "aten::detach_":  # changes what autograd knows of a tensor, not its values
        writes = frozenset()
    if schema.name in _SILENT_VIEWS or any(_holds_anything(text) for text in types.values()):
        views |= {name for name, text in types.items() if "Tensor" in text or _holds_anything(text)}
    return Traits(writes, views)


def _holds_anything(text: str) -> bool:
    """Whether a type stands for whatever it is used with, or is a container of such: List[t], Dict(str, t), Any."""
    return re.search(r"\b(t|t[0-9]|tVal|Any|AnyList\w*|AnyTuple\w*|AnyClass\w*)\b", text) is not None
