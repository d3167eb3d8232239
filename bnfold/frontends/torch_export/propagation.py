"""Shape propagation: shapes, strides and types of an fx graph, carried on from the nodes that changed."""

import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import fx

from bnfold.frontends.torch_export.autocast import is_truthful, region_in, within
from bnfold.frontends.torch_export.bodies import Call, result_of

_VIEW, _RESHAPE = torch.ops.aten.view.default, torch.ops.aten.reshape.default


def propagate(
    graph: fx.Graph, changed: Iterable[fx.Node], calls: Mapping[fx.Node, Call] = MappingProxyType({})
) -> None:
    """Bring the meta data of nodes up to date behind those that changed.

    A BatchNorm made a tensor of its own; without it, a view may meet strides that it cannot show. Then it becomes a
    reshape, which copies where it must.

    Args:
        graph: changed in place, with its bodies.
        changed: nodes that are new, or have other arguments or another target; parameters of another shape.
        calls: the operators with bodies.
    """
    stale = set(changed)
    for node in list(stale):
        if node.op == "placeholder":
            stale.update(node.users)
    _propagate(graph, stale, calls)


def _propagate(graph: fx.Graph, stale: set[fx.Node], calls: Mapping[fx.Node, Call]) -> None:
    for node in graph.nodes:
        before = node.meta.get("val")
        if node in calls:
            after = _through_bodies(calls[node], stale, calls)
        elif node in stale and node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            after = _result(node)
        elif node in stale and node.target is operator.getitem:
            after = node.args[0].meta["val"][node.args[1]]
        else:
            continue
        if not _same(before, after) or before is None:
            node.meta["val"] = after
            stale.update(node.users)


def _through_bodies(call: Call, stale: set[fx.Node], calls: Mapping[fx.Node, Call]) -> Any:  # noqa: ANN401
    """What an operator makes now. What is not a wrapper is trusted to make what it made: nothing crosses its edge."""
    if not is_truthful(call.bodies[0], region_in(call, {})):
        return call.node.meta.get("val")
    for body in call.bodies:
        for inner, operand in call.pairs(body):
            source = operand.argument
            if operand.is_fixed and source in stale and not _same(inner.meta.get("val"), source.meta.get("val")):
                inner.meta["val"] = source.meta["val"]
                stale.update((inner, *inner.users))
        with within(call):
            _propagate(body, stale, calls)
    results = result_of(call.bodies[0])
    if not call.wraps or not isinstance(results, (list, tuple)):
        return call.node.meta.get("val")
    return tuple(result.meta.get("val") if isinstance(result, fx.Node) else result for result in results)


def _result(node: fx.Node) -> Any:  # noqa: ANN401 - whatever the operator makes
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
    if not modes or not callable(node.target):
        return node.meta.get("val")
    with torch.no_grad(), modes[0]:
        return node.target(*args, **kwargs)


def _same(before: Any, after: Any) -> bool:  # noqa: ANN401 - whatever operators make
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return True
    return _layout(before) == _layout(after)


def _layout(tensor: torch.Tensor) -> tuple[list[str], list[str], torch.dtype]:
    return [str(length) for length in tensor.shape], [str(step) for step in tensor.stride()], tensor.dtype


def _tensors(args: Any) -> list[Any]:  # noqa: ANN401 - whatever fx holds
    found: list[Any] = []
    fx.node.map_aggregate(args, lambda entry: found.append(entry) if isinstance(entry, torch.Tensor) else None)
    return found
