"""From an ExportedProgram to the neutral graph. The program is only looked at."""

import operator
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from bnfold.frontends.aten.graph import UNKNOWN, Argument, AtenGraph, Node, Shape, Value
from bnfold.frontends.aten.mutation import settle_mutations
from bnfold.frontends.aten.schema import traits

_UNBIND = "aten::unbind"
_AT_THE_END = "the end of the program"


def lift(program: ExportedProgram) -> AtenGraph:
    """The program as a graph; nodes and values carry their fx nodes as `origin`."""
    return _Lift(program).graph


class _Lift:
    def __init__(self, program: ExportedProgram) -> None:
        self.graph = AtenGraph()
        self._program = program
        self._values: dict[fx.Node, Value] = {}
        self._labels = _labels(program.graph)
        self.graph.names.update(program.state_dict, program.constants)
        self.graph.names.update(node.name for node in program.graph.nodes)
        self._add_inputs()
        for node in program.graph.nodes:
            if node.op == "get_attr":
                self._values[node] = self.graph.add_input(Value(node.name, is_input=True, origin=node))
            elif node.op == "call_function" and node not in self._values:
                self._add_node(node)
            elif node.op == "output":
                for value in _flat(self._argument(node.args)):
                    value.is_output = True
        settle_mutations(self.graph)

    def _add_inputs(self) -> None:
        specs = {getattr(spec.arg, "name", ""): spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs.get(node.name)
            target = spec.target if spec is not None and spec.kind is not InputKind.USER_INPUT else None
            tensor = self._stored(target)
            shape, dtype = _form(node.meta.get("val"))
            value = Value(
                node.name if tensor is None or target is None else target,
                is_input=tensor is None,
                parameter=tensor,
                shape=shape,
                dtype=dtype,
                mutation=_AT_THE_END if target in _mutated(self._program) else "",
                origin=node,
            )
            self._values[node] = self.graph.add_input(value)

    def _stored(self, target: str | None) -> torch.Tensor | None:
        if target is None:
            return None
        stored = self._program.state_dict.get(target, self._program.constants.get(target))
        return stored if isinstance(stored, torch.Tensor) else None

    def _add_node(self, node: fx.Node) -> None:
        parts = _parts(node)
        op, arguments = self._operator(node)
        if op == _UNBIND and parts is not None:
            for place, part in parts.items():
                selected = {"self": arguments["self"], "dim": arguments["dim"], "index": place}
                self._append(part, "aten::select", selected, [part], frozenset({"self"}))
            return
        views = frozenset(arguments)
        writes = frozenset[str]()
        if isinstance(node.target, torch._ops.OpOverload):
            known = traits(node.target._schema)
            views, writes = known.views, known.writes
        outputs: list[fx.Node | None] = [node]
        if parts is not None:
            outputs = [parts.get(place) for place in range(max(parts, default=-1) + 1)]
        self._append(node, op, arguments, outputs, views, writes)

    def _append(
        self,
        node: fx.Node,
        op: str,
        arguments: dict[str, Argument],
        outputs: list[fx.Node | None],
        views: frozenset[str],
        writes: frozenset[str] = frozenset(),
    ) -> None:
        values: list[Value | None] = []
        for output in outputs:
            if output is None:
                values.append(None)
                continue
            shape, dtype = _form(output.meta.get("val"))
            value = self._values[output] = Value(output.name, shape=shape, dtype=dtype, origin=output)
            values.append(value)
        self.graph.append(
            Node(op, arguments, values, self._labels.get(node, node.name), writes=writes, views=views, origin=node)
        )

    def _operator(self, node: fx.Node) -> tuple[str, dict[str, Argument]]:
        """Its qualified name and its arguments by name."""
        if not isinstance(node.target, torch._ops.OpOverload):
            given = {**{f"arg{place}": argument for place, argument in enumerate(node.args)}, **node.kwargs}
            module = getattr(node.target, "__module__", None) or "python"
            name = getattr(node.target, "__name__", str(node.target))
            return f"{module}::{name}", {name: self._argument(argument) for name, argument in given.items()}
        schema = node.target._schema
        arguments: dict[str, Argument] = {}
        for place, argument in enumerate(schema.arguments):
            if place < len(node.args):
                arguments[argument.name] = self._argument(node.args[place])
            elif argument.name in node.kwargs:
                arguments[argument.name] = self._argument(node.kwargs[argument.name])
            else:
                arguments[argument.name] = argument.default_value
        return schema.name, arguments

    def _argument(self, argument: Any) -> Argument:  # noqa: ANN401 - whatever fx holds
        if isinstance(argument, fx.Node):
            return self._values[argument]
        if isinstance(argument, (list, tuple)):
            return [self._argument(element) for element in argument]
        if isinstance(argument, dict):
            return [self._argument(element) for element in argument.values()]
        plain = (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout, torch.memory_format)
        return argument if argument is None or isinstance(argument, plain) else UNKNOWN


def _parts(node: fx.Node) -> dict[int, fx.Node] | None:
    """The nodes that take one result of several each, by place; None where the result is one, or is used as a whole."""
    if not isinstance(node.meta.get("val"), (list, tuple)):
        return None
    parts: dict[int, fx.Node] = {}
    for user in node.users:
        place = user.args[1] if user.target is operator.getitem else None
        if not isinstance(place, int) or place < 0 or place in parts:
            return None
        parts[place] = user
    return parts


def _form(val: Any) -> tuple[Shape | None, torch.dtype | None]:  # noqa: ANN401 - meta data of any node
    """Shape and type; lengths that are not known before run time by their expressions."""
    if not isinstance(val, torch.Tensor):
        return None, None
    return tuple(length if isinstance(length, int) else str(length) for length in val.shape), val.dtype


def _mutated(program: ExportedProgram) -> set[str]:
    """Parameters and buffers that get new values from the program's outputs."""
    signature = program.graph_signature
    return {*signature.buffers_to_mutate.values(), *getattr(signature, "parameters_to_mutate", {}).values()}


def _labels(graph: fx.Graph) -> dict[fx.Node, str]:
    """The module that called a node where it called nothing else, else that with the node's name behind."""
    paths = {
        node: _module_path(node)
        for node in graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    }
    counts = Counter(paths.values())
    return {
        node: path if path and counts[path] == 1 else ".".join(filter(None, (path, node.name)))
        for node, path in paths.items()
    }


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _flat(argument: Argument) -> Iterator[Value]:
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, list):
        for element in argument:
            yield from _flat(element)
