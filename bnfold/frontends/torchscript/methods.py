"""Which methods of which modules forward calls, and which attributes a method reads."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bnfold.frontends.torchscript.attributes import Attributes
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


@dataclass(frozen=True)
class Body:
    """What stands in a method's own graph.

    Attributes:
        places: the attributes that it reads.
        calls: the methods that it calls.
        complete: whether every receiver of a call is known before run time; one behind an interface is not.
    """

    places: frozenset[PlaceKey]
    calls: frozenset[Method]
    complete: bool


def body_of(method: Method) -> Body:
    """Read a method as it is now."""
    graph = method.graph
    attributes = Attributes(method.owner, graph)
    places: set[PlaceKey] = set()
    calls: set[Method] = set()
    complete = True
    for node in all_nodes(graph):
        if node.kind() == "prim::GetAttr" and (place := attributes.place(node)) is not None:
            places.add((place.owner, place.name))
        elif node.kind() == "prim::CallMethod":
            receiver = attributes.module(node.inputsAt(0))
            if receiver is not None:
                calls.add(Method(receiver[0], node.s("name")))
            else:
                complete = complete and node.inputsAt(0).type().kind() != "InterfaceType"
    return Body(frozenset(places), frozenset(calls), complete)


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
        places: all that they read.
        complete: whether every receiver was known; a call through an interface may go anywhere.
    """

    methods: frozenset[Method]
    places: frozenset[PlaceKey]
    complete: bool


class Bodies:
    """Bodies of methods, each read once: it must not outlive a change of one."""

    def __init__(self) -> None:
        self._bodies: dict[Method, Body] = {}

    def of(self, method: Method) -> Body:
        """The body of a method."""
        if method not in self._bodies:
            self._bodies[method] = body_of(method)
        return self._bodies[method]

    def reach(self, method: Method) -> Reach:
        """Follow the calls of a method."""
        seen: dict[Method, Body] = {}
        waiting = [method]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen[current] = self.of(current)
                waiting += seen[current].calls
        places = frozenset(place for body in seen.values() for place in body.places)
        return Reach(frozenset(seen), places, all(body.complete for body in seen.values()))
