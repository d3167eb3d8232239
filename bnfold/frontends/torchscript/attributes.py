"""What a module's attributes hold: chains of prim::GetAttr, followed on the module itself."""

from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrGraph, IrNode, IrValue, ModuleObject


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
        """What the attribute holds now."""
        return self.owner.getattr(self.name)

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
