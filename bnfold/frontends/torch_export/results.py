"""What the nodes of an exported program make: one result or several, and what is known of each."""

import operator
from typing import Any

import torch
from torch import fx

from bnfold.frontends.aten.node import Shape


def parts_of(node: fx.Node) -> dict[int, fx.Node] | None:
    """The nodes that take one result of several each, by place; None where the result is one, or is used as a whole."""
    if not isinstance(node.meta.get("val"), (list, tuple)):
        return None
    parts: dict[int, fx.Node] = {}
    for user in node.users:
        place = user.args[1] if user.target is operator.getitem else None
        if not isinstance(place, int) or place < 0 or place in parts:
            return None
        parts[place] = user
    return parts


def outputs_of(node: fx.Node) -> list[fx.Node | None]:
    """The nodes that hold its results in order, None where nothing holds one."""
    parts = parts_of(node)
    return [node] if parts is None else [parts.get(place) for place in range(max(parts, default=-1) + 1)]


def form_of(val: Any) -> tuple[Shape | None, torch.dtype | None]:  # noqa: ANN401 - meta data of any node
    """Shape and type; lengths that are not known before run time by their expressions."""
    if not isinstance(val, torch.Tensor):
        return None, None
    return tuple(length if isinstance(length, int) else str(length) for length in val.shape), val.dtype
