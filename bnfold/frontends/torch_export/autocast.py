"""Regions of torch.autocast, whose operators convert what they read without a word in the graph.

Source: aten/src/ATen/autocast_mode.h, aten/src/ATen/autocast_mode.cpp
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import fx

from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.torch_export.bodies import Call

Region = Mapping[str, torch.dtype]
"""The type that is computed with, by type of device; nothing outside of every region."""

# Wider numbers stay as they are.
_CONVERTED = (torch.float32, torch.float16, torch.bfloat16)


def region_in(call: Call, around: Region) -> Region:
    """What holds in the body of an operator.

    Args:
        call: of a wrapper.
        around: what holds where it stands.
    """
    autocast = _autocast_of(call)
    if autocast is None:
        return around
    kind = autocast.device
    others = {known: held for known, held in around.items() if known != kind}
    return {**others, kind: autocast.dtype or torch.get_autocast_dtype(kind)} if autocast.enabled else others


def computes_in(node: fx.Node, op: str, region: Region) -> torch.dtype | None:
    """The type to which an operator converts all its tensors; None where it converts none, or has no row that says so.

    Operators without one may convert as well, and are not understood anyway.
    """
    val = node.meta.get("val")
    if not operator_of(op).converts_in_autocast or not isinstance(val, torch.Tensor):
        return None
    read = [source.meta.get("val") for source in node.all_input_nodes]
    types = {source.dtype for source in read if isinstance(source, torch.Tensor)}
    return region.get(val.device.type) if types <= set(_CONVERTED) else None


def is_truthful(graph: fx.Graph, region: Region) -> bool:
    """Whether the types that a graph states are those of the region: torch's strict exporter does not know of it."""
    for node in graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            dtype = computes_in(node, node.target._schema.name, region)
            if dtype is not None and dtype != node.meta["val"].dtype:
                return False
    return True


@contextmanager
def within(call: Call) -> Iterator[None]:
    """The autocast region that a body runs in."""
    autocast = _autocast_of(call)
    if autocast is None:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a device that is not there
        region: Any = torch.autocast(autocast.device, autocast.dtype, autocast.enabled, autocast.caches)
    with region:
        yield


class _Autocast(NamedTuple):
    """The arguments of torch.autocast."""

    device: str
    dtype: torch.dtype | None
    enabled: bool
    caches: bool | None


def _autocast_of(call: Call) -> _Autocast | None:
    """The arguments of a wrapper that is a region of torch.autocast; None of all others."""
    if getattr(call.node.target, "__name__", "") != "wrap_with_autocast":
        return None
    device, dtype, enabled, caches, *_ = call.node.args
    return _Autocast(
        str(device),
        dtype if isinstance(dtype, torch.dtype) else None,
        bool(enabled),
        None if caches is None else bool(caches),
    )


def conversion(source: Any, dtype: torch.dtype) -> dict[str, Any]:  # noqa: ANN401 - a value
    """Arguments of aten::to."""
    return {"self": source, "dtype": dtype, "non_blocking": False, "copy": False, "memory_format": None}
