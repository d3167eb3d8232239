"""What a folded module does not need any more: attributes of folded BatchNorms, and methods that forward had called.

Methods of submodules that only served forward are inlined there. Where a fold changed or took away what such a method
reads, it would now compute something else than it did, so it goes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.torchscript.attributes import Attributes
from bnfold.frontends.torchscript.ir import IrGraph, ModuleObject, all_nodes
from bnfold.frontends.torchscript.methods import Bodies, Method, PlaceKey, Reach, methods_of, modules_of

ClassMember = tuple[str, str]
"""Qualified name of a class, and the name of one of its attributes or methods."""


@dataclass(frozen=True)
class Retired:
    """Attributes and methods to take out of their classes."""

    attributes: frozenset[ClassMember]
    methods: frozenset[ClassMember]


def protected_places(root: ModuleObject, reach: Reach) -> set[PlaceKey]:
    """Places that a method reads that forward does not call; all places where forward calls through an interface."""
    bodies = Bodies()
    return {place for method in _independent(root, reach) for place in bodies.reach(method).places}


def read_places(root: ModuleObject, graph: IrGraph) -> set[PlaceKey]:
    """Every place that an inlined graph reads."""
    attributes = Attributes(root, graph)
    places = (attributes.place(node) for node in all_nodes(graph) if node.kind() == "prim::GetAttr")
    return {(place.owner, place.name) for place in places if place is not None}


def shared_places(root: ModuleObject, graph: IrGraph) -> set[PlaceKey]:
    """Every place that an inlined graph reads for more than one use, such as the bias of a module called twice."""
    attributes = Attributes(root, graph)
    uses: Counter[PlaceKey] = Counter()
    for node in all_nodes(graph):
        place = attributes.place(node) if node.kind() == "prim::GetAttr" else None
        if place is not None:
            uses[place.owner, place.name] += len(node.output().uses())
    return {place for place, count in uses.items() if count > 1}


def retire(root: ModuleObject, reach: Reach, changed: set[PlaceKey], lost: set[PlaceKey]) -> Retired:
    """Decide.

    Args:
        root: the module, already folded.
        reach: what forward called.
        changed: places whose values a fold changed.
        lost: places that forward read before the fold and does not read now.
    """
    bodies = Bodies()
    independent = set(_independent(root, reach))
    lost = lost - {place for method in independent for place in bodies.reach(method).places}
    serving = [method for method in _all_methods(root) if method not in independent and not _is_forward(method, root)]
    methods = _stale_methods(serving, bodies, changed | lost)
    kept = [method for method in _all_methods(root) if (method.type_name, method.name) not in methods]
    read = {member for method in _one_per_class(kept) for member in _members_read(method)}
    alive = {method.owner for method in independent if not method.owner == root}  # noqa: SIM201 - torch has no !=
    return Retired(frozenset(_dead_attributes(root, lost, read, alive)), frozenset(methods))


def _all_methods(root: ModuleObject) -> Iterator[Method]:
    return (method for module in modules_of(root) for method in methods_of(module))


def _is_forward(method: Method, root: ModuleObject) -> bool:
    return bool(method.name == "forward" and method.owner == root)


def _independent(root: ModuleObject, reach: Reach) -> Iterator[Method]:
    """Methods that somebody may call beside forward, and that must go on as they were."""
    for method in _all_methods(root):
        served = reach.complete and method in reach.methods and not method.owner == root  # noqa: SIM201
        if not served and not _is_forward(method, root):
            yield method


def _one_per_class(methods: Iterable[Method]) -> Iterable[Method]:
    """Methods of one class and name have one graph."""
    return {(method.type_name, method.name): method for method in methods}.values()


def _stale_methods(serving: Sequence[Method], bodies: Bodies, gone: set[PlaceKey]) -> set[ClassMember]:
    """Methods that read what is gone, and those that call them."""
    stale = {(method.type_name, method.name) for method in serving if not bodies.reach(method).places.isdisjoint(gone)}
    callers = {
        (method.type_name, method.name): {(called.type_name, called.name) for called in bodies.of(method).calls}
        for method in serving
    }
    grown = True
    while grown:
        more = {member for member, called in callers.items() if not called.isdisjoint(stale)} - stale
        stale |= more
        grown = bool(more)
    return stale


def _members_read(method: Method) -> Iterator[ClassMember]:
    """Attributes that a method itself reads, by class: modules of one class have the same attributes."""
    for node in all_nodes(method.graph):
        if node.kind() in ("prim::GetAttr", "prim::SetAttr"):
            yield str(node.inputsAt(0).type().qualified_name()), node.s("name")


def _dead_attributes(
    root: ModuleObject, lost: set[PlaceKey], read: set[ClassMember], alive: set[ModuleObject]
) -> Iterator[ClassMember]:
    """Tensors and modules that are lost in every module of their class."""
    places: dict[ClassMember, list[PlaceKey]] = {}
    for module in modules_of(root):
        for name in _attribute_names(module):
            places.setdefault((str(module._type().qualified_name()), name), []).append((module, name))
    for member, keys in places.items():
        if member not in read and all(key in lost for key in keys) and not _any_alive(keys, alive):
            yield member


def _attribute_names(module: ModuleObject) -> Iterator[str]:
    kinds: tuple[Any, ...] = (torch._C.ModuleDict, torch._C.ParameterDict, torch._C.BufferDict)
    for members in (kind(module) for kind in kinds):
        yield from (name for name, _ in members.items())


def _any_alive(keys: Iterable[PlaceKey], alive: set[ModuleObject]) -> bool:
    held = [owner.getattr(name) for owner, name in keys]
    modules = [entry for entry in held if isinstance(entry, torch._C.ScriptModule)]
    return any(inner in alive for module in modules for inner in modules_of(module))
