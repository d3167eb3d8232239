"""Attributes that a method writes to that forward does not call: their values are not fixed."""

from collections.abc import Iterator

from bnfold.frontends.torchscript.attributes import Attributes, Place, set_places
from bnfold.frontends.torchscript.ir import IrGraph, ModuleObject
from bnfold.frontends.torchscript.lift import read_graph
from bnfold.frontends.torchscript.methods import PlaceKey, methods_of, modules_of
from bnfold.frontends.torchscript.prepare import Prepared, fix_to_inference


def written_places(prepared: Prepared) -> dict[PlaceKey, str]:
    """Every attribute that a method that forward does not call sets or changes in place, and the method's name.

    All are judged as they are in inference: the statistics that training keeps are no writes then.
    """
    found: dict[PlaceKey, str] = {}
    for module in modules_of(prepared.root):
        for method in methods_of(module):
            if method not in prepared.reach.methods:
                graph = method.graph.copy()
                fix_to_inference(graph, module)
                found.update(dict.fromkeys(_written_in(graph, module), method.name))
    return found


def _written_in(graph: IrGraph, module: ModuleObject) -> Iterator[PlaceKey]:
    yield from set_places(graph, Attributes(module, graph))
    for value in read_graph(module, graph).inputs:
        if value.mutation and isinstance(value.origin, Place):
            yield value.origin.owner, value.origin.name
