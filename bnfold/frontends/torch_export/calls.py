"""Calls of operators in an fx graph, with arguments by the names of their schemas."""

from typing import Any

import torch
from torch import fx

from bnfold.errors import InternalError


def overload(op: str, arguments: dict[str, Any], old: Any) -> torch._ops.OpOverload:  # noqa: ANN401 - any target
    """The overload that has these arguments: that of the old operator where there is one, else the first that fits."""
    namespace, _, name = op.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name)
    preferred = [getattr(old, "_overloadname", "default"), "default", "Tensor"]
    for overload in dict.fromkeys([*preferred, *packet.overloads()]):
        if overload not in packet.overloads():
            continue
        candidate: torch._ops.OpOverload = getattr(packet, overload)
        names = {argument.name for argument in candidate._schema.arguments}
        required = {argument.name for argument in candidate._schema.arguments if not argument.has_default_value()}
        if required <= set(arguments) <= names and candidate._schema.arguments[0].type.kind() != "NumberType":
            return candidate
    raise InternalError(f"{op} has no overload with the arguments {', '.join(arguments)}")


def assign(node: fx.Node, name: str, argument: Any) -> None:  # noqa: ANN401 - whatever fx holds
    """Set an argument by its name in the schema."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    place = next(place for place, entry in enumerate(schema) if entry.name == name)
    if schema[place].kwarg_only or name in node.kwargs:
        if argument == schema[place].default_value and name not in node.kwargs:
            return
        node.kwargs = {**node.kwargs, name: argument}
        return
    if place >= len(node.args) and schema[place].has_default_value() and argument is schema[place].default_value:
        return
    filled = [*node.args, *(entry.default_value for entry in schema[len(node.args) : place + 1])]
    filled[place] = argument
    node.args = tuple(filled)


def argument_of(node: fx.Node, name: str) -> Any:  # noqa: ANN401 - whatever fx holds
    """An argument by its name in the schema; it is written out in the call."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    place = next(place for place, entry in enumerate(schema) if entry.name == name)
    return node.args[place] if place < len(node.args) else node.kwargs[name]
