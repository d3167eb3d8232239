"""The graph of an ExportedProgram, parameters read by their names."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from bnfold.verifier.programs.autocast import autocast_dtype
from bnfold.verifier.programs.parts.graph import Function, Node, ProgramGraph, Unreadable, Value, as_seen, touched

_HALF = frozenset({torch.float16, torch.bfloat16})
_NARROW = _HALF | {torch.float32}
_IS_ENABLED = 2
"""Of the arguments of a region of autocast."""
_CONVERSIONS = frozenset({"aten._to_copy.default", "aten.to.dtype", "prims.convert_element_type.default"})


class ExportedGraph(ProgramGraph):
    """Of the module that torch makes of an ExportedProgram.

    Args:
        module: with its parameters as attributes.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self._module = module
        self._values: dict[fx.Node, Value] = {}
        self._bodies: dict[fx.Node, fx.GraphModule] = {}
        state: dict[str, Value] = {}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self.inputs.append(self._value(node))
            elif node.op == "get_attr":
                held = operator.attrgetter(node.target)(module)
                if isinstance(held, fx.GraphModule):  # a body belongs to the node that runs it
                    self._bodies[node] = held
                    continue
                value = self._values[node] = state.setdefault(node.target, self._value(node))
                value.tensor = held if isinstance(held, torch.Tensor) else None
            elif node.op == "call_function":
                self._add(node)
            elif node.op == "output":
                outputs = list(map(self._value, _nodes_in(node.args)))
        kept = {f"state {name}": value for name, value in state.items()}
        kept |= {f"input {value.name}": value for value in self.inputs}
        self._append_results(outputs, {name: (value, value) for name, value in kept.items()})

    def _value(self, node: fx.Node) -> Value:
        if node not in self._values:
            self._values[node] = Value(node.name, node)
        return self._values[node]

    def _add(self, node: fx.Node) -> None:
        leaves = _nodes_in((node.args, node.kwargs))
        reads = [self._value(leaf) for leaf in leaves if leaf not in self._bodies]
        bodies = [_text(self._bodies[leaf]) for leaf in leaves if leaf in self._bodies]
        added = Node(
            op=str(node.target),
            operands=tuple(map(self.writes.current, reads)),
            static=str((fx.node.map_aggregate((node.args, node.kwargs), _without_nodes), bodies)),
            outputs=(self._value(node),),
            handle=node,
            reads=tuple(reads),
            is_random=_draws(node),
            converts_to=_converts_to(node),
            computes_in=autocast_dtype(node),
        )
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            self._append(added, (), reads if node.target is operator.getitem else ())
            return
        arguments = [*node.args, *(node.kwargs.get(argument.name) for argument in schema.arguments[len(node.args) :])]
        self._append(added, *touched(schema, ([self._value(leaf) for leaf in _nodes_in(given)] for given in arguments)))

    def function(
        self, inputs: Sequence[Value], targets: Sequence[Value], nodes: Iterable[Node], *, taken: bool | None = None
    ) -> Function:
        """As in `ProgramGraph`."""
        graph = fx.Graph()
        made = {value: graph.placeholder(f"given_{place}") for place, value in enumerate(inputs)}
        for node in nodes:
            stands: dict[fx.Node, fx.Node] = {
                read.handle: self._made(operand, made, graph)
                for read, operand in zip(node.reads, node.operands, strict=True)
            }
            stands |= {
                body: graph.get_attr(body.target) for body in node.handle.all_input_nodes if body in self._bodies
            }
            copied = graph.node_copy(node.handle, stands.__getitem__)
            copied.args, copied.kwargs = _wide(copied.args), _wide(copied.kwargs)
            if taken is not None and node.chooses:
                copied.args = (taken, *copied.args[1:])
            if node.computes_in is not None:
                copied.args = (*copied.args[:_IS_ENABLED], False, *copied.args[_IS_ENABLED + 1 :])
            copied.meta = {}
            made[node.outputs[0]] = copied
        graph.output([self._made(target, made, graph) for target in targets])
        module = fx.GraphModule(self._module, graph)
        return lambda values: list(module(*values))

    def _made(self, value: Value, made: dict[Value, fx.Node], graph: fx.Graph) -> fx.Node:
        if value not in made:
            if value.handle.op != "get_attr":
                raise Unreadable(f"{value.name!r} is read before it is made")
            made[value] = graph.get_attr(value.handle.target)
        return made[value]

    def observe(self, arguments: Sequence[Any]) -> Mapping[Value, Any]:
        """As in `ProgramGraph`."""
        seen: dict[Value, Any] = {}
        values = self._values

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401
                result = super().run_node(n)
                if n in values:
                    seen[values[n]] = as_seen(result)
                return result

        Recorder(self._module).run(*arguments, enable_io_processing=False)
        return seen


def _draws(node: fx.Node) -> bool:
    """Whether it draws random numbers: an operator that may, and is neither in inference nor told to drop nothing."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    arguments = node.target._schema.arguments  # type: ignore[union-attr]
    given = {argument.name: node.kwargs.get(argument.name, argument.default_value) for argument in arguments}
    given |= {argument.name: value for argument, value in zip(arguments, node.args, strict=False)}
    in_training = given.get("train", given.get("training", True))
    return bool(in_training and given.get("dropout_p", given.get("p", 1)) != 0)


def _converts_to(node: fx.Node) -> torch.dtype | None:
    """Half precision, of a node that converts one tensor to it."""
    if str(node.target) not in _CONVERSIONS:
        return None
    leaves = [leaf for leaf in (*node.args, *node.kwargs.values()) if isinstance(leaf, torch.dtype)]
    return leaves[0] if leaves and leaves[0] in _HALF else None


def _text(body: fx.GraphModule) -> str:
    """What a body does, and those inside of it."""
    inner = [module for module in body.children() if isinstance(module, fx.GraphModule)]
    return "\n".join([str(body.graph), *map(_text, inner)])


def _without_nodes(argument: Any) -> Any:  # noqa: ANN401 - whatever fx holds
    """Where an operand stands among the arguments of a node, "_"."""
    return "_" if isinstance(argument, fx.Node) else argument


def _nodes_in(argument: Any) -> list[fx.Node]:  # noqa: ANN401 - whatever fx holds
    found: list[fx.Node] = []
    fx.map_arg(argument, found.append)
    return found


def _wide(argument: Any) -> Any:  # noqa: ANN401 - whatever fx holds
    """The same arguments, with float64 for every narrower type."""
    return fx.node.map_aggregate(
        argument, lambda leaf: torch.float64 if isinstance(leaf, torch.dtype) and leaf in _NARROW else leaf
    )
