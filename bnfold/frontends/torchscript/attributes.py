"""What a module's attributes hold: chains of prim::GetAttr, followed on the module itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrGraph, IrNode, IrValue, ModuleObject, all_nodes


class _Unreadable:
    """What an attribute holds that has no form in Python."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE = _Unreadable()


@dataclass(frozen=True)
class Place:
    """One attribute of one module.

    Attributes:
        owner: the module.
        path: names from the top module down to the owner; empty for the top module itself.
        name: of the attribute.
    """

    owner: ModuleObject
    path: tuple[str, ...]
    name: str

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever the attribute holds
        """What the attribute holds now; `UNREADABLE` where that is an object of a class that Python does not know."""
        try:
            return self.owner.getattr(self.name)
        except RuntimeError:  # torch looks for a Python class, and finds none for those of a file
            return UNREADABLE

    @property
    def dotted(self) -> str:
        """The attribute as people write it: layer1.0.conv.weight."""
        return ".".join((*self.path, self.name))


class Attributes:
    """Finds the places that prim::GetAttr nodes of one inlined graph read.

    Args:
        module: the top module.
        graph: of one of its methods; its first input is the module.
    """

    def __init__(self, module: ModuleObject, graph: IrGraph) -> None:
        itself = next(iter(graph.inputs())).debugName()
        self._modules: dict[str, tuple[ModuleObject, tuple[str, ...]]] = {itself: (module, ())}

    def place(self, node: IrNode) -> Place | None:
        """The place that a prim::GetAttr reads; None where its module is only known at run time."""
        owner = self.module(node.inputsAt(0))
        return None if owner is None else Place(*owner, node.s("name"))

    def module(self, value: IrValue) -> tuple[ModuleObject, tuple[str, ...]] | None:
        """The module that a value is, and the path to it; None where it is none, or only known at run time."""
        name = value.debugName()
        if name in self._modules:
            return self._modules[name]
        node = value.node()
        if node.kind() != "prim::GetAttr":
            return None
        place = self.place(node)
        if place is None or not isinstance(place.value, torch._C.ScriptModule):
            return None
        self._modules[name] = place.value, (*place.path, place.name)
        return self._modules[name]


def set_places(graph: IrGraph, attributes: Attributes) -> set[tuple[ModuleObject, str]]:
    """Every attribute that a graph sets."""
    places = (attributes.place(node) for node in all_nodes(graph) if node.kind() == "prim::SetAttr")
    return {(place.owner, place.name) for place in places if place is not None}


def tensors_in(held: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401 - whatever the attribute holds
    """Every tensor in lists, dicts and tuples."""
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, dict):
        for element in held.values():
            yield from tensors_in(element)
    elif isinstance(held, (list, tuple)):
        for element in held:
            yield from tensors_in(element)


def member_name(owner: ModuleObject, held: object) -> str:
    """The parameter of a module that is this tensor, from the same memory on; "" where there is none."""
    parameters: Any = torch._C.ParameterDict(owner)
    for name, tensor in parameters.items() if isinstance(held, torch.Tensor) else ():
        if tensor is held or (
            tensor.numel()
            and (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            == (held.data_ptr(), held.shape, held.stride(), held.dtype)  # type: ignore[attr-defined]
        ):
            return str(name)
    return ""
