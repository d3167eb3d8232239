"""From the journal of a neutral graph to a new ExportedProgram. The old one and its module stay as they are."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputSpec

from bnfold.errors import InternalError
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.journal import (
    ArgumentSet,
    NodeAdded,
    NodeRemoved,
    OperatorReplaced,
    ParameterChanged,
    Renamed,
)
from bnfold.frontends.aten.node import Argument, AtenNode, AtenValue
from bnfold.frontends.torch_export.bodies import has_shared_bodies, placeholders
from bnfold.frontends.torch_export.copies import Copies
from bnfold.frontends.torch_export.names import Views, changed_values, rename_nodes
from bnfold.frontends.torch_export.parameters import Parameters, drop_unread_operands
from bnfold.frontends.torch_export.propagation import propagate


def lower(program: ExportedProgram, graph: AtenGraph) -> ExportedProgram:
    """The program as the graph is now.

    Signature, dynamic shapes, example inputs and all names stay, except of tensors that hold other values. Parameters
    and buffers that nothing reads any more are gone.

    Args:
        program: that the graph was lifted from.
        graph: with its journal.
    """
    return _Lowering(program).run(graph)


def separated(program: ExportedProgram) -> ExportedProgram:
    """The program with a body of its own for every operator that has bodies; itself where that is so."""
    return lower(program, AtenGraph()) if has_shared_bodies(program.graph_module) else program


class _Lowering:
    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._copies = Copies(program.graph_module)
        self._graph = self._copies.graph
        self._nodes = self._copies.nodes
        self._parameters = Parameters(program, self._graph)
        self._of_value: dict[AtenValue, fx.Node] = {}
        self._of_node: dict[AtenNode, fx.Node] = {}
        self._names: dict[fx.Node, str] = {}
        self._touched: dict[fx.Node, None] = {}
        self._gone: dict[str, str] = {}
        self._views = Views(self._copies)
        self._read = {node for graph in self._copies.all_graphs() for node in placeholders(graph) if node.users}

    def run(self, graph: AtenGraph) -> ExportedProgram:
        for change in graph.journal:
            step: Callable[[Any], None] = _STEPS[type(change)].__get__(self)
            step(change)
        drop_unread_operands(self._copies, self._read)
        for node in self._parameters.drop_unread(self._read):
            self._touched.pop(node, None)
        changed = [node for node in self._touched if not node._erased]
        propagate(self._graph, changed, {call.node: call for call in self._copies.calls})
        self._views.rename(changed_values(graph.journal), self._nodes)
        renamed = rename_nodes(self._copies, self._names)
        return self._assemble(renamed)

    def _change_parameter(self, change: ParameterChanged) -> None:
        node = self._node_of(change.value)
        if self._parameters.change(node, _tensor(change.value)):
            self._touched[node] = None

    def _set_argument(self, change: ArgumentSet) -> None:
        node = self._operator(change.node)
        name, place = change.slot
        argument = self._argument(change.argument, node.graph)
        if place is not None:
            whole = list(_argument_of(node, name))
            whole[place] = argument
            argument = whole
        _assign(node, name, argument)
        self._touched[node] = None

    def _replace_operator(self, change: OperatorReplaced) -> None:
        node = self._operator(change.node)
        arguments = {name: self._argument(argument, node.graph) for name, argument in change.arguments.items()}
        node.target = _overload(change.op, arguments, node.target)
        node.args, node.kwargs = (), {}
        for name, argument in arguments.items():
            _assign(node, name, argument)
        self._touched[node] = None

    def _add_node(self, change: NodeAdded) -> None:
        after = self._operator(change.after)
        source = self._node_of(change.result)
        target = _overload(change.node.op, dict(change.node.arguments), None)
        with source.graph.inserting_after(source):
            added = source.graph.call_function(target, (source,))
        added.meta = {**after.meta, "val": source.meta.get("val")}
        source.replace_all_uses_with(added, delete_user_cb=lambda user: user is not added)
        self._of_value[change.inner], self._of_value[change.result] = source, added
        self._of_node[change.node] = added
        self._names[added], self._names[source] = self._names.get(source, source.name), change.inner.name
        for name, argument in change.node.arguments.items():
            _assign(added, name, self._argument(argument, added.graph))
        self._touched[added] = None

    def _remove_node(self, change: NodeRemoved) -> None:
        if change.node.origin is None and change.node not in self._of_node:
            return  # a conversion that another operator makes by itself
        output = self._node_of(change.output)
        if change.replacement is not None:
            replacement = self._copies.seen(self._node_of(change.replacement), output.graph)
            for user in output.users:
                self._touched[user] = None
            output.replace_all_uses_with(replacement)
            if output.graph is self._graph:
                self._gone[output.name] = replacement.name
        node = self._operator(change.node)
        for user in [*node.users, node]:
            user.graph.erase_node(user)
            self._touched.pop(user, None)

    def _rename(self, change: Renamed) -> None:
        if change.value.origin is not None or change.value in self._of_value:
            self._names[self._node_of(change.value)] = change.name

    def _operator(self, node: AtenNode) -> fx.Node:
        return self._nodes[node.origin] if node.origin is not None else self._of_node[node]

    def _node_of(self, value: AtenValue) -> fx.Node:
        if value in self._of_value:
            return self._of_value[value]
        if value.origin is None:
            raise InternalError(f"{value.name!r} is not in the program")
        return self._nodes[value.origin]

    def _argument(self, argument: Argument, graph: fx.Graph) -> Any:  # noqa: ANN401 - whatever fx holds
        if isinstance(argument, AtenValue):
            if argument.origin is None and argument not in self._of_value:
                self._of_value[argument] = self._parameters.add(argument.name, _tensor(argument))
                self._read.add(self._of_value[argument])
            return self._copies.seen(self._node_of(argument), graph)
        return [self._argument(element, graph) for element in argument] if isinstance(argument, list) else argument

    def _assemble(self, renamed: dict[str, str]) -> ExportedProgram:
        old = self._program
        signature = ExportGraphSignature(self._parameters.specs(), self._output_specs())
        further: dict[str, Any] = {}
        if hasattr(old, "verifiers"):
            further["verifiers"] = old.verifiers
        elif hasattr(old, "verifier"):
            further["verifier"] = old.verifier
        new = ExportedProgram(
            root=self._copies.finished(),
            graph=self._graph,
            graph_signature=signature,
            state_dict=self._parameters.state,
            range_constraints=copy.copy(old.range_constraints),
            module_call_graph=self._module_calls(renamed),
            example_inputs=old.example_inputs,
            constants=self._parameters.constants,
            **further,
        )
        if hasattr(old, "_guards_code"):  # what a loaded file asks of its inputs is nowhere else
            new._guards_code = old._guards_code
        return new

    def _output_specs(self) -> list[OutputSpec]:
        output = next(node for node in reversed(self._graph.nodes) if node.op == "output")
        specs = []
        for spec, result in zip(self._program.graph_signature.output_specs, output.args[0], strict=True):
            argument = spec.arg
            if isinstance(result, fx.Node) and hasattr(argument, "name"):
                argument = replace(argument, name=result.name)
            specs.append(replace(spec, arg=argument))
        return specs

    def _module_calls(self, renamed: dict[str, str]) -> list[Any]:
        """The calls of submodules whose signatures were kept, with the names of their tensors as they are now."""

        def now(name: str) -> str:
            while name in self._gone:
                name = self._gone[name]
            return renamed.get(name, name)

        def updated(arguments: list[Any]) -> list[Any]:
            return [
                replace(argument, name=now(argument.name)) if getattr(argument, "name", None) else argument
                for argument in arguments
            ]

        return [
            call
            if call.signature is None
            else replace(
                call,
                signature=replace(
                    call.signature, inputs=updated(call.signature.inputs), outputs=updated(call.signature.outputs)
                ),
            )
            for call in self._program.module_call_graph
        ]


_STEPS: dict[type, Any] = {
    ArgumentSet: _Lowering._set_argument,
    NodeAdded: _Lowering._add_node,
    NodeRemoved: _Lowering._remove_node,
    OperatorReplaced: _Lowering._replace_operator,
    ParameterChanged: _Lowering._change_parameter,
    Renamed: _Lowering._rename,
}


def _tensor(value: AtenValue) -> torch.Tensor:
    if value.parameter is None:
        raise InternalError(f"{value.name!r} has no values")
    return value.parameter


def _overload(op: str, arguments: dict[str, Any], old: Any) -> torch._ops.OpOverload:  # noqa: ANN401 - any target
    """The overload that has these arguments: that of the old operator where there is one, else the first that fits."""
    namespace, _, name = op.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name)
    preferred = [getattr(old, "_overloadname", "default"), "default", "Tensor"]
    for overload in dict.fromkeys([*preferred, *packet.overloads()]):
        if overload not in packet.overloads():
            continue
        candidate: torch._ops.OpOverload = getattr(packet, overload)
        names = {argument.name for argument in candidate._schema.arguments}
        required = {argument.name for argument in candidate._schema.arguments if not argument.has_default_value()}
        if required <= set(arguments) <= names and candidate._schema.arguments[0].type.kind() != "NumberType":
            return candidate
    raise InternalError(f"{op} has no overload with the arguments {', '.join(arguments)}")


def _assign(node: fx.Node, name: str, argument: Any) -> None:  # noqa: ANN401 - whatever fx holds
    """Set an argument by its name in the schema."""
    schema, place = _place_of(node, name)
    if schema[place].kwarg_only or name in node.kwargs:
        if argument == schema[place].default_value and name not in node.kwargs:
            return
        node.kwargs = {**node.kwargs, name: argument}
        return
    if place >= len(node.args) and schema[place].has_default_value() and argument is schema[place].default_value:
        return
    filled = [*node.args, *(entry.default_value for entry in schema[len(node.args) : place + 1])]
    filled[place] = argument
    node.args = tuple(filled)


def _argument_of(node: fx.Node, name: str) -> Any:  # noqa: ANN401 - whatever fx holds
    """An argument by its name in the schema; it is written out in the call."""
    _, place = _place_of(node, name)
    return node.args[place] if place < len(node.args) else node.kwargs[name]


def _place_of(node: fx.Node, name: str) -> tuple[Sequence[torch.Argument], int]:
    """The arguments of an operator's schema, and which of them has this name."""
    if not isinstance(node.target, torch._ops.OpOverload):
        raise InternalError(f"{node.name!r} calls no operator of torch")
    schema = node.target._schema.arguments
    return schema, next(place for place, entry in enumerate(schema) if entry.name == name)
