"""Regions of exported programs that compute in half precision, whatever they read."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def autocast_dtype(node: "torch.fx.Node") -> "torch.dtype | None":
    """What a region of autocast computes in; None of other nodes, and where it is switched off."""
    import torch

    if getattr(node.target, "__name__", "") != "wrap_with_autocast":
        return None
    device, dtype, is_enabled, *_ = node.args
    return (dtype or torch.get_autocast_dtype(device)) if is_enabled else None  # type: ignore[return-value, arg-type]
