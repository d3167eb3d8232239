"""The graphs of an exported program, copied to be changed: its own, and those of all bodies in it."""

import copy
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from bnfold.errors import InternalError
from bnfold.frontends.torch_export.bodies import Call, body_of, call_of, is_named, placeholders, result_of


class Copies:
    """A graph module and all bodies in it. Bodies that several operators run become one for each.

    Args:
        module: left as it is.

    Attributes:
        graph: the copy of the module's own graph.
        nodes: the copies of all nodes; of bodies that several operators run, some copy.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self.nodes: dict[fx.Node, fx.Node] = {}
        self._module = module
        self._calls: dict[fx.Graph, Call] = {}
        self._identifiers: set[object] = set()
        self._bodies: dict[fx.Graph, dict[str, tuple[fx.GraphModule, fx.Graph]]] = {}
        self.graph = self._copy(module)

    @property
    def calls(self) -> list[Call]:
        """The operators with bodies, those in bodies before the one that they are in."""
        return list(dict.fromkeys(self._calls.values()))

    def all_graphs(self) -> Iterator[fx.Graph]:
        """The graph, then those of bodies."""
        yield self.graph
        yield from self._calls

    def call_in(self, node: fx.Node) -> Call | None:
        """The same as `bodies.call_of`, of a copied node."""
        return next((call for call in self._calls.values() if call.node is node), None)

    def seen(self, node: fx.Node, graph: fx.Graph) -> fx.Node:
        """What stands for a node's result in another graph: a new operand or a new result where nothing does yet."""
        if node.graph is graph:
            return node
        if self._is_inside(graph, node.graph):
            call = self._calls[graph]
            return self._taken(self.seen(node, call.node.graph), graph, call)
        around = self._calls.get(node.graph)
        if around is None or not around.wraps:
            raise InternalError(f"{node.name!r} cannot be seen from where it is read")
        return self.seen(_given(node, around), graph)

    def views(self, node: fx.Node) -> Iterator[fx.Node]:
        """What else stands for a node's result, in graphs around it and in bodies."""
        waiting, found = [node], {node}
        while waiting:
            for view in self._next_views(waiting.pop()):
                if view not in found:
                    found.add(view)
                    waiting.append(view)
                    yield view

    def finished(self) -> fx.GraphModule:
        """A module that has the bodies of the graph as they are now."""
        return self._finished(self._module, self.graph) if self._calls else self._module

    def _copy(self, module: fx.GraphModule) -> fx.Graph:
        old, new = module.graph, fx.Graph()
        nodes: dict[fx.Node, fx.Node] = {}
        new.output(new.graph_copy(old, nodes))
        for before, after in nodes.items():
            after.name = before.name  # copying renames what is called like something of Python's own, such as "input"
        new.find_nodes(op="output")[0].meta = dict(old.find_nodes(op="output")[0].meta)
        new._codegen = copy.deepcopy(old._codegen)
        self.nodes |= nodes
        self._bodies[new] = {}
        for node in old.nodes:
            call = call_of(node, module)
            if call is not None:
                self._copy_bodies(call, module, nodes)
        return new

    def _copy_bodies(self, call: Call, owner: fx.GraphModule, nodes: dict[fx.Node, fx.Node]) -> None:
        node = nodes[call.node]
        readings, graphs = [], []
        for reading in call.readings:
            body = body_of(reading, owner)
            if body is None:
                raise InternalError(f"{reading.name!r} reads no body")
            graph = self._copy(body)
            own = self._own_reading(nodes[reading], node, body, graph)
            readings.append(own)
            graphs.append(graph)
        if is_named(call):
            self._name(node)
        copied = Call(node, tuple(readings), tuple(graphs), call.spelling)
        for graph in graphs:
            self._calls[graph] = copied

    def _name(self, node: fx.Node) -> None:
        """Give a body a name that no other has."""
        name = node.args[1]
        while name in self._identifiers:
            name = f"{name}_again"
        self._identifiers.add(name)
        node.args = (node.args[0], name, *node.args[2:])

    def _own_reading(self, reading: fx.Node, user: fx.Node, body: fx.GraphModule, graph: fx.Graph) -> fx.Node:
        """The node that reads a body: one of its own, under a name of its own, where another operator has the first."""
        held = self._bodies[reading.graph]
        target = str(reading.target)
        if target not in held:
            held[target] = (body, graph)
            return reading
        while target in held:
            target = f"{target}_again"
        held[target] = (body, graph)
        with reading.graph.inserting_before(user):
            own = reading.graph.create_node("get_attr", target)
        own.meta = dict(reading.meta)
        user.replace_input_with(reading, own)
        return own

    def _finished(self, module: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
        root: dict[str, Any] = {}
        for node in graph.nodes:
            if node.op in ("get_attr", "call_module"):
                held = self._bodies[graph].get(str(node.target))
                root[node.target] = self._finished(*held) if held else _attribute(module, str(node.target))
        new = fx.GraphModule(root, graph, class_name=type(module).__name__)
        new.meta.update(module.meta)
        new.training = module.training
        return new

    def _is_inside(self, graph: fx.Graph, other: fx.Graph) -> bool:
        while graph in self._calls:
            graph = self._calls[graph].node.graph
            if graph is other:
                return True
        return False

    def _taken(self, source: fx.Node, graph: fx.Graph, call: Call) -> fx.Node:
        """What a body takes for a node of the graph around it."""
        for inner, operand in call.pairs(graph):
            if operand.is_fixed and operand.argument is source:
                return inner
        if call.spelling is None:
            raise InternalError(f"nobody knows what {call.node.name!r} gives to its bodies")
        call.set_fixed([*call.fixed, source])
        for body in call.bodies:
            _add_placeholder(body, source)
        return placeholders(graph)[-1]

    def _next_views(self, node: fx.Node) -> Iterator[fx.Node]:
        for user in node.users:
            call = self.call_in(user)
            for body in call.bodies if call is not None else ():
                for inner, operand in call.pairs(body) if call is not None else ():
                    if operand.is_fixed and operand.argument is node:
                        yield inner
        around = self._calls.get(node.graph)
        results = result_of(node.graph)
        if around is not None and around.wraps and isinstance(results, (list, tuple)):
            yield from (user for user, place in _parts(around) if results[place] is node)


def _given(node: fx.Node, call: Call) -> fx.Node:
    """What stands for a result of a body in the graph around it."""
    results = result_of(node.graph)
    for user, place in _parts(call):
        if results[place] is node:
            return user
    raise InternalError(f"{call.node.name!r} does not give {node.name!r} back")


def _parts(call: Call) -> Iterator[tuple[fx.Node, int]]:
    """The nodes that take one result of an operator each, and its place."""
    for user in call.node.users:
        if user.target is operator.getitem and isinstance(user.args[1], int):
            yield user, user.args[1]


def _add_placeholder(body: fx.Graph, source: fx.Node) -> None:
    taken = placeholders(body)
    first = next(iter(body.nodes))
    with body.inserting_after(taken[-1]) if taken else body.inserting_before(first):
        added = body.placeholder(source.name)
    added.meta = {"val": source.meta.get("val")}


def _attribute(owner: torch.nn.Module, target: str) -> Any:  # noqa: ANN401 - a tensor, a module
    held: Any = owner
    for step in target.split("."):
        held = getattr(held, step)
    return held
