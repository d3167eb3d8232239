"""Which arguments an operator writes to, and which its results may share memory with."""

from dataclasses import dataclass

import torch

# They may return what they were given, and their schemas do not say so.
_SILENT_VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "_unsafe_view",
        "alpha_dropout",
        "broadcast_tensors",
        "channel_shuffle",
        "dropout",
        "einsum",
        "feature_alpha_dropout",
        "feature_dropout",
        "flatten",
        "meshgrid",
        "pixel_shuffle",
        "pixel_unshuffle",
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
    """Read a schema's alias annotations, and what is known beyond them."""
    aliases = {argument.name: argument.alias_info for argument in schema.arguments}
    writes = frozenset(name for name, alias in aliases.items() if alias is not None and alias.is_write)
    views = frozenset(name for name, alias in aliases.items() if alias is not None)
    if schema.name == "aten::detach_":  # changes what autograd knows of a tensor, not its values
        writes = frozenset()
    if schema.name in _SILENT_VIEWS:
        views |= {argument.name for argument in schema.arguments if "Tensor" in str(argument.type)}
    return Traits(writes, views)
