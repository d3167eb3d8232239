"""Which methods of which modules forward calls, and which attributes a method reads."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bnfold.frontends.torchscript.attributes import Attributes, Place
from bnfold.frontends.torchscript.ir import IrGraph, ModuleObject, all_nodes

PlaceKey = tuple[ModuleObject, str]
"""A place as a key: the module itself, whatever path led to it, and the attribute's name."""


@dataclass(frozen=True)
class Method:
    """One method of one module."""

    owner: ModuleObject
    name: str

    @property
    def type_name(self) -> str:
        """The qualified name of the owner's class, which several modules may share."""
        return str(self.owner._type().qualified_name())

    @property
    def graph(self) -> IrGraph:
        """Its graph as it is run: changes to it change the method."""
        return self.owner._get_method(self.name).graph

    def calls(self) -> "Iterator[Method | None]":
        """The methods that it calls itself; None for a call whose receiver is only known at run time."""
        attributes = Attributes(self.owner, self.graph)
        for node in all_nodes(self.graph):
            if node.kind() != "prim::CallMethod":
                continue
            receiver = attributes.module(node.inputsAt(0))
            if receiver is not None:
                yield Method(receiver[0], node.s("name"))
            elif node.inputsAt(0).type().kind() == "InterfaceType":
                yield None

    def places(self) -> Iterator[Place]:
        """Every attribute that it reads, by itself or through what it calls."""
        graph = self.owner._get_method(self.name).inlined_graph
        attributes = Attributes(self.owner, graph)
        for node in all_nodes(graph):
            if node.kind() == "prim::GetAttr" and (place := attributes.place(node)) is not None:
                yield place


def modules_of(root: ModuleObject) -> Iterator[ModuleObject]:
    """The module and all modules in it, each once."""
    seen: set[ModuleObject] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        yield module
        waiting += [child for _, child in torch._C.ModuleDict(module).items()]


def methods_of(module: ModuleObject) -> Iterator[Method]:
    """All methods of one module, those of its children not included."""
    return (Method(module, name) for name in module._method_names())


@dataclass(frozen=True)
class Reach:
    """What a method calls, directly or not.

    Attributes:
        methods: itself and all that it calls.
        complete: whether every receiver was known; a call through an interface may go anywhere.
    """

    methods: frozenset[Method]
    complete: bool


def reach_of(method: Method) -> Reach:
    """Follow the calls of a method."""
    seen: set[Method] = set()
    complete = True
    waiting = [method]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for called in current.calls():
            if called is None:
                complete = False
            else:
                waiting.append(called)
    return Reach(frozenset(seen), complete)
