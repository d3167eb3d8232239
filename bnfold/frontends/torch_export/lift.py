"""From an ExportedProgram to the neutral graph. The program is only looked at.

Bodies of higher-order operators become part of the one graph. A body that only wraps code, such as that of
torch.no_grad, stands there as if it were not wrapped. Any other is listed behind its operator: what it takes has no
producer, unless it is a constant, and what it gives back is pinned. So folds work inside, and nothing crosses its edge.

In a region of torch.autocast, conversions that operators make without a word are written out, so that no map crosses
one unseen.
"""

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import AtenConstants
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.instance_norms import mark_instance_norms
from bnfold.frontends.aten.memory import join, settle_writes
from bnfold.frontends.aten.node import UNKNOWN, Argument, AtenNode, AtenValue, values_within
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.aten.schema import effects_of
from bnfold.frontends.torch_export.autocast import Region, computes_in, conversion, is_truthful, region_in
from bnfold.frontends.torch_export.bodies import Call, body_of, call_of, result_of
from bnfold.frontends.torch_export.labels import Labels
from bnfold.frontends.torch_export.results import form_of, outputs_of, parts_of
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Opaque

_UNBIND = "aten::unbind"
_AT_THE_END = "the end of the program"


def lift(program: ExportedProgram) -> AtenGraph:
    """The program as a graph; nodes and values carry their fx nodes as `origin`."""
    return _Lift(program).graph


class _Lift:
    def __init__(self, program: ExportedProgram) -> None:
        self.graph = AtenGraph()
        self._program = program
        self._values: dict[fx.Node, Argument] = {}
        self._labels = Labels(self._values)
        self._region: Region = {}
        self._states_types = True
        self._sealed: Opaque | None = None
        self._within: AtenNode | None = None
        self.graph.names.update(program.state_dict, program.constants)
        self.graph.names.update(node.name for node in program.graph.nodes)
        self._add_inputs()
        for value in values_within(self._lift_graph(program.graph_module, program.graph)):
            value.is_output = True
        mark_instance_norms(self.graph)
        settle_writes(self.graph)

    def _lift_graph(self, owner: torch.nn.Module, graph: fx.Graph) -> Argument:
        """Define all that a graph makes, and say what it gives back. Its placeholders are defined."""
        self._labels.enter(graph)
        for node in graph.nodes:
            if node.op == "get_attr":
                is_body = body_of(node, owner) is not None
                self._values[node] = UNKNOWN if is_body else self.graph.add_input(self._new_value(node, is_input=True))
            elif node.op == "call_function" and node not in self._values:
                call = call_of(node, owner)
                if call is None:
                    self._add_node(node)
                elif call.wraps and parts_of(node) is not None:
                    self._add_wrapped(call, owner)
                else:
                    self._add_call(call, owner)
        return self._argument(result_of(graph))

    def _add_wrapped(self, call: Call, owner: torch.nn.Module) -> None:
        """The body in the operator's place."""
        (body,), (reading,) = call.bodies, call.readings
        for inner, operand in call.pairs(body):
            self._values[inner] = self._argument(operand.argument)
        around = self._region, self._states_types
        self._region = region_in(call, self._region)
        self._states_types = self._states_types and is_truthful(body, self._region)
        results = self._lift_graph(_module_of(reading, owner), body)
        self._region, self._states_types = around
        for place, part in (parts_of(call.node) or {}).items():
            self._values[part] = results[place] if isinstance(results, list) else results

    def _add_call(self, call: Call, owner: torch.nn.Module) -> None:
        """The operator, and behind it all that its bodies hold. It reads what they take, but for constants."""
        taken = {value for value in self._taken(call) if not isinstance(AtenConstants().read(value), Refusal)}
        op, arguments = self._operator(call.node)
        read = [value for value in values_within(list(arguments.values())) if value not in taken]
        outer = self._append(call.node, op, {"inputs": read}, outputs_of(call.node), frozenset({"inputs"}))
        around, outside, self._within = self._sealed, self._within, outer
        shared = [*values_within(list(arguments.values())), *(value for value in outer.outputs if value is not None)]
        if call.spelling is None:
            self._sealed = Opaque(
                Reason.FOREIGN_DOMAIN,
                f"it stands in a body of {outer.label!r}, and bnfold does not know how {op} runs it",
            )
        for body, reading in zip(call.bodies, call.readings, strict=True):
            for inner, operand in call.pairs(body):
                argument = self._argument(operand.argument)
                is_the_same = operand.is_fixed and (not isinstance(argument, AtenValue) or argument in taken)
                self._values[inner] = argument if is_the_same else self._entry(inner, outer)
                shared += values_within(self._values[inner])
            for value in values_within(self._lift_graph(_module_of(reading, owner), body)):
                value.is_output = True
                value.edge = value.edge or outer.label
                shared.append(value)
        join(shared)
        self._sealed, self._within = around, outside

    def _taken(self, call: Call) -> list[AtenValue]:
        """What the bodies take that every run of them gets as it is, and nothing else of the operator looks at."""
        operands = call.operands
        changed = set(values_within([self._argument(operand.argument) for operand in operands if not operand.is_fixed]))
        return [
            value
            for value in values_within([self._argument(operand.argument) for operand in operands if operand.is_fixed])
            if value not in changed
        ]

    def _entry(self, inner: fx.Node, outer: AtenNode) -> AtenValue:
        value = self._new_value(inner)
        value.edge = outer.label
        return self.graph.add_input(value)

    def _new_value(self, node: fx.Node, *, is_input: bool = False) -> AtenValue:
        name = node.name if node.graph is self._program.graph else self.graph.fresh_name(node.name)
        shape, dtype = form_of(node.meta.get("val"))
        return AtenValue(name, is_input=is_input, shape=shape, dtype=dtype if self._states_types else None, origin=node)

    def _add_inputs(self) -> None:
        specs = {getattr(spec.arg, "name", ""): spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs.get(node.name)
            target = spec.target if spec is not None and spec.kind is not InputKind.USER_INPUT else None
            tensor = self._stored(target)
            shape, dtype = form_of(node.meta.get("val"))
            value = AtenValue(
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
        parts = parts_of(node)
        op, arguments = self._operator(node)
        if op == _UNBIND and parts is not None:
            for place, part in parts.items():
                selected = {"self": arguments["self"], "dim": arguments["dim"], "index": place}
                self._append(part, "aten::select", selected, [part], frozenset({"self"}))
            return
        views = frozenset(arguments)
        writes = frozenset[str]()
        if isinstance(node.target, torch._ops.OpOverload):
            known = effects_of(node.target._schema)
            views, writes = known.views, known.writes
        dtype = computes_in(node, op, self._region)
        if dtype is not None:
            arguments = {name: self._converted(argument, dtype) for name, argument in arguments.items()}
        made = self._append(node, op, arguments, outputs_of(node), views, writes)
        if dtype is not None and made.outputs[0] is not None:
            made.outputs[0].dtype = dtype

    def _converted(self, argument: Argument, dtype: torch.dtype) -> Argument:
        """What the operator makes of an argument before it computes."""
        if isinstance(argument, list):
            return [self._converted(element, dtype) for element in argument]
        if not isinstance(argument, AtenValue) or argument.dtype == dtype:
            return argument
        label = self.graph.fresh_name(f"{argument.name}_as_{str(dtype).removeprefix('torch.')}")
        result = AtenValue(label, shape=argument.shape, dtype=dtype)
        self.graph.append(
            AtenNode(operator_of("aten::to"), conversion(argument, dtype), [result], label, views=frozenset({"self"}))
        )
        return result

    def _append(
        self,
        node: fx.Node,
        op: str,
        arguments: dict[str, Argument],
        outputs: list[fx.Node | None],
        views: frozenset[str],
        writes: frozenset[str] = frozenset(),
    ) -> AtenNode:
        values: list[AtenValue | None] = []
        for output in outputs:
            if output is None:
                values.append(None)
                continue
            value = self._values[output] = self._new_value(output)
            values.append(value)
        label = self._labels.of(node)
        made = AtenNode(
            operator_of(op), arguments, values, label, writes=writes, views=views, sealed=self._sealed, origin=node
        )
        made.within = self._within
        return self.graph.append(made)

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


def _module_of(reading: fx.Node, owner: torch.nn.Module) -> fx.GraphModule:
    body = body_of(reading, owner)
    if body is None:
        raise InternalError(f"{reading.name!r} reads no body")
    return body


def _mutated(program: ExportedProgram) -> set[str]:
    """Parameters and buffers that get new values from the program's outputs."""
    signature = program.graph_signature
    return {*signature.buffers_to_mutate.values(), *getattr(signature, "parameters_to_mutate", {}).values()}
