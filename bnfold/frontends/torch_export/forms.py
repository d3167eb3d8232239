"""Shapes, strides and types of a changed fx graph, carried on from the nodes that changed."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

_VIEW, _RESHAPE = torch.ops.aten.view.default, torch.ops.aten.reshape.default


def settle_forms(graph: fx.Graph, changed: Iterable[fx.Node]) -> None:
    """Bring the meta data of nodes up to date behind those that changed.

    A BatchNorm made a tensor of its own; without it, a view may meet strides that it cannot show. Then it becomes a
    reshape, which copies where it must.

    Args:
        graph: changed in place.
        changed: nodes that are new, or have other arguments or another target.
    """
    stale = set(changed)
    for node in graph.nodes:
        if node not in stale or node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        before, after = node.meta.get("val"), _propagate(node)
        if not _same(before, after):
            node.meta["val"] = after
            stale.update(node.users)


def _propagate(node: fx.Node) -> Any:  # noqa: ANN401 - whatever the operator makes
    try:
        return _run(node)
    except (RuntimeError, ValueError):
        if node.target is not _VIEW:
            raise
        node.target = _RESHAPE
        return _run(node)


def _run(node: fx.Node) -> Any:  # noqa: ANN401 - whatever the operator makes
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
    modes = [value.fake_mode for value in _tensors(args) if hasattr(value, "fake_mode")]
    if not modes:
        return node.meta.get("val")
    with torch.no_grad(), modes[0]:
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _same(before: Any, after: Any) -> bool:  # noqa: ANN401 - whatever operators make
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return True
    return _form(before) == _form(after)


def _form(tensor: torch.Tensor) -> tuple[list[str], list[str], torch.dtype]:
    return [str(length) for length in tensor.shape], [str(step) for step in tensor.stride()], tensor.dtype


def _tensors(args: Any) -> list[Any]:  # noqa: ANN401 - whatever fx holds
    found: list[Any] = []
    fx.node.map_aggregate(args, lambda entry: found.append(entry) if isinstance(entry, torch.Tensor) else None)
    return found
