"""What is kept of the values that a program makes."""

from typing import Any

import torch


def as_seen(value: Any) -> Any:  # noqa: ANN401 - whatever a program makes
    """A tensor of floating-point numbers as one of its shape and type without memory, all else as it is now."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("meta") if value.dtype.is_floating_point or value.is_complex() else value.clone()
    return value
