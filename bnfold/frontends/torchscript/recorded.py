"""The shapes that a trace was made with, by the names of the leaves of its arguments."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from bnfold.frontends.torch_archive.traced_inputs import Recorded, Sizes, traced_inputs
from bnfold.frontends.torch_archive.zip_reader import opened

Shape: TypeAlias = tuple[int, ...]


def recorded_in_file(path: Path) -> list[Recorded]:
    """What a TorchScript file says of the inputs that forward was traced with; nothing, where it is no trace."""
    with opened(path) as entries:
        return traced_inputs(entries)


def shapes_by_leaf(module: torch.jit.ScriptModule, recorded: Sequence[Recorded]) -> dict[str, Shape]:
    """Shapes of recorded inputs by the path to each: "x", "pair.0", "inputs.image".

    Args:
        module: whose forward says how its arguments are called and what they hold.
        recorded: of its trace.

    Returns:
        Nothing where the two do not fit together.
    """
    left = deque(recorded)
    shapes: dict[str, Shape] = {}
    try:
        for argument in module._c._get_method("forward").schema.arguments[1:]:
            shapes.update(_below(argument.name, argument.type, left))
    except (IndexError, _UnlikeError):
        return {}
    return {} if left else shapes


class _UnlikeError(Exception):
    """What was recorded is not what forward takes."""


def _below(name: str, kind: Any, left: "deque[Recorded]") -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    """The leaves of one argument, taken off the front of what is left."""
    if kind.kind() == "TupleType":
        return _of_tuple(name, kind, left)
    value = left.popleft()
    if kind.kind() in ("ListType", "DictType"):
        return _of_items(name, kind, value)
    if kind.kind() != "TensorType":
        return {}
    if not isinstance(value, Sizes):
        raise _UnlikeError
    return {name: value.shape}


def _of_tuple(name: str, kind: Any, left: "deque[Recorded]") -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    """The trace of a lone tuple records its parts one by one; among other containers it is recorded whole."""
    parts = deque(whole) if left and isinstance(whole := left[0], list) else left
    shapes: dict[str, Shape] = {}
    for at, element in enumerate(kind.elements()):
        shapes.update(_below(f"{name}.{at}", element, parts))
    if parts is not left:
        left.popleft()
    return shapes


def _of_items(name: str, kind: Any, value: Recorded) -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    pairs: list[tuple[str | int, Recorded]]
    match kind.kind(), value:
        case "ListType", list():
            inner, pairs = kind.getElementType(), list(enumerate(value))
        case "DictType", dict():
            inner, pairs = kind.getValueType(), list(value.items())
        case _:
            raise _UnlikeError
    shapes: dict[str, Shape] = {}
    for key, item in pairs:
        shapes.update(_below(f"{name}.{key}", inner, deque([item])))
    return shapes
