"""Attributes that some method writes to: their values are not fixed."""

from bnfold.frontends.torchscript.attributes import Attributes
from bnfold.frontends.torchscript.ir import IrGraph, IrNode, all_nodes
from bnfold.frontends.torchscript.methods import PlaceKey, methods_of, modules_of
from bnfold.frontends.torchscript.prepare import Prepared, fix_to_inference


def written_places(prepared: Prepared) -> set[PlaceKey]:
    """Every attribute that forward, or a method that forward does not call, sets or changes in place.

    All are judged as they are in inference: the statistics that training keeps are no writes then.
    """
    found: set[PlaceKey] = _written_in(prepared.graph, Attributes(prepared.root, prepared.graph))
    for module in modules_of(prepared.root):
        for method in methods_of(module):
            if method not in prepared.reach.methods:
                graph = method.graph.copy()
                fix_to_inference(graph, module)
                found |= _written_in(graph, Attributes(module, graph))
    return found


def _written_in(graph: IrGraph, attributes: Attributes) -> set[PlaceKey]:
    aliases = graph.alias_db()
    found: set[PlaceKey] = set()
    for node in all_nodes(graph):
        if node.kind() not in ("prim::GetAttr", "prim::SetAttr"):
            continue
        place = attributes.place(node)
        if place is None:
            continue
        if node.kind() == "prim::SetAttr" or (_holds_tensor(node) and aliases.has_writers(node.output())):
            found.add((place.owner, place.name))
    return found


def _holds_tensor(node: IrNode) -> bool:
    return node.output().type().kind() in ("TensorType", "OptionalType", "ListType", "DictType")
