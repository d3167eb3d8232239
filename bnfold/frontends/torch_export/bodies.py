"""Higher-order operators: which graphs they run, and what they give to these.

Source: torch/_higher_order_ops, and torch.cond, torch.export's passes for set_grad_enabled and autocast.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx


class Group(NamedTuple):
    """A list of operands: its place among the arguments, and whether every run of a body gets them as they are."""

    place: int
    is_fixed: bool = True


@dataclass(frozen=True)
class Spelling:
    """How an operator spells its bodies.

    Attributes:
        bodies: where the graphs stand among the arguments.
        groups: the operands, in the order in which every body takes them.
        is_spread: the only group is all arguments from its place on.
        wraps: it runs its one body once, on the operands, and gives back what that gives.
    """

    bodies: tuple[int, ...]
    groups: tuple[Group, ...]
    is_spread: bool = False
    wraps: bool = False


def _wrapper(body: int, first: int) -> Spelling:
    return Spelling((body,), (Group(first),), is_spread=True, wraps=True)


# Whatever is not in here runs its bodies on nobody knows what.
_SPELLINGS: Mapping[str, Spelling] = {
    "associative_scan": Spelling((0,), (Group(1, is_fixed=False), Group(1, is_fixed=False), Group(2))),
    "cond": Spelling((1, 2), (Group(3),)),
    "hints_wrapper": Spelling((0,), (Group(1),), wraps=True),
    "invoke_subgraph": _wrapper(0, 2),
    "map_impl": Spelling((0,), (Group(1, is_fixed=False), Group(2))),
    "scan": Spelling((0,), (Group(1, is_fixed=False), Group(2, is_fixed=False), Group(3))),
    "strict_mode": Spelling((0,), (Group(1),), wraps=True),
    "tag_activation_checkpoint": _wrapper(0, 1),
    "while_loop": Spelling((0, 1), (Group(2, is_fixed=False), Group(3))),
    "wrap": _wrapper(0, 1),
    "wrap_activation_checkpoint": _wrapper(0, 1),
    "wrap_with_autocast": _wrapper(4, 5),
    "wrap_with_set_grad_enabled": _wrapper(1, 2),
}


class Operand(NamedTuple):
    """What a body takes in one place, and whether every run of it takes just that."""

    argument: Any
    is_fixed: bool


@dataclass(frozen=True)
class Call:
    """A higher-order operator in a graph.

    Attributes:
        node: the operator.
        readings: the nodes that read its bodies from the module, one per body.
        bodies: the graphs.
        spelling: None for an operator that is not known.
    """

    node: fx.Node
    readings: tuple[fx.Node, ...]
    bodies: tuple[fx.Graph, ...]
    spelling: Spelling | None

    @property
    def wraps(self) -> bool:
        """Whether the body is straight code of the program around it."""
        return self.spelling is not None and self.spelling.wraps

    @property
    def operands(self) -> list[Operand]:
        """What each body takes, in order; empty where nobody knows."""
        if self.spelling is None:
            return []
        found = []
        for place, is_fixed in self.spelling.groups:
            given = self.node.args[place:] if self.spelling.is_spread else self.node.args[place]
            found += [Operand(argument, is_fixed) for argument in given] if isinstance(given, (list, tuple)) else []
        return found

    def pairs(self, body: fx.Graph) -> list[tuple[fx.Node, Operand]]:
        """The placeholders of a body and what they stand for."""
        taken = placeholders(body)
        unknown = [Operand(None, is_fixed=False)] * len(taken)
        operands = self.operands
        return list(zip(taken, operands if len(operands) == len(taken) else unknown, strict=True))

    def set_fixed(self, operands: list[Any]) -> None:
        """Give the bodies other operands in the last group, where all new ones go."""
        if self.spelling is None:
            return
        place = self.spelling.groups[-1].place
        args: list[Any] = list(self.node.args)
        if self.spelling.is_spread:
            args[place:] = operands
        else:
            args[place] = tuple(operands) if isinstance(args[place], tuple) else operands
        self.node.args = tuple(args)

    @property
    def fixed(self) -> list[Any]:
        """The operands of the last group."""
        if self.spelling is None:
            return []
        place = self.spelling.groups[-1].place
        given: Any = self.node.args[place:] if self.spelling.is_spread else self.node.args[place]
        return list(given)


def call_of(node: fx.Node, owner: torch.nn.Module) -> Call | None:
    """The bodies of a node; None where it has none.

    Args:
        node: any.
        owner: the module that holds the graph's attributes.
    """
    if node.op != "call_function":
        return None
    readings: list[fx.Node] = []
    graphs: list[fx.Graph] = []
    for source in node.all_input_nodes:
        body = body_of(source, owner)
        if body is not None:
            readings.append(source)
            graphs.append(body.graph)
    if not readings:
        return None
    spelling = _SPELLINGS.get(getattr(node.target, "__name__", ""))
    if spelling is not None and [node.args[place] for place in spelling.bodies if place < len(node.args)] != readings:
        spelling = None
    return Call(node, tuple(readings), tuple(graphs), spelling)


def body_of(reading: fx.Node, owner: torch.nn.Module) -> fx.GraphModule | None:
    """The graph module that a node reads; None where it reads a tensor, or is another node."""
    if reading.op != "get_attr":
        return None
    held: Any = owner
    for step in str(reading.target).split("."):
        held = getattr(held, step, None)
    return held if isinstance(held, fx.GraphModule) else None


def placeholders(graph: fx.Graph) -> list[fx.Node]:
    """The placeholders of a graph, in order."""
    return [node for node in graph.nodes if node.op == "placeholder"]


def result_of(graph: fx.Graph) -> Any:  # noqa: ANN401 - a node, or several
    """The results of a graph, as its output node has them."""
    return next(iter(graph.find_nodes(op="output"))).args[0]


def has_shared_bodies(module: fx.GraphModule) -> bool:
    """Whether two operators run one graph, or say so by the name that they give it."""
    graphs: list[fx.Graph] = []
    names: list[object] = []
    for owner in (module, *bodies_in(module)):
        calls = [call for node in owner.graph.nodes if (call := call_of(node, owner)) is not None]
        graphs += [body for call in calls for body in call.bodies]
        names += [call.node.args[1] for call in calls if is_named(call)]
    return len(set(graphs)) < len(graphs) or len(set(names)) < len(names)


def is_named(call: Call) -> bool:
    """Whether an operator gives its body a name, as its second argument."""
    return getattr(call.node.target, "__name__", "") == "invoke_subgraph"


def bodies_in(module: fx.GraphModule) -> Iterator[fx.GraphModule]:
    """All bodies of a module, those in bodies too, once for every node that reads them."""
    waiting = [module]
    while waiting:
        owner = waiting.pop()
        for node in owner.graph.nodes:
            body = body_of(node, owner)
            if body is not None:
                waiting.append(body)
                yield body
