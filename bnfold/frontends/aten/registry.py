"""What the tags in torch's registry of operators say."""

from functools import cache

import torch


@cache
def changes_form(operator: str) -> bool:
    """Whether an operator changes the form of a tensor in place: who asks for the form sees it, too."""
    return any(torch.Tag.inplace_view in overload.tags for overload in _overloads(operator))


@cache
def is_determined(operator: str) -> bool:
    """Whether it is an operator of PyTorch's own whose results follow from what it reads: it rolls no dice."""
    overloads = _overloads(operator)
    return bool(overloads) and not any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads)


def _overloads(operator: str) -> list[torch._ops.OpOverload]:
    namespace, _, name = operator.partition("::")
    packet = getattr(torch.ops.aten, name, None) if namespace == "aten" else None
    return [] if packet is None else [getattr(packet, overload) for overload in packet.overloads()]
