"""From the journal of a neutral graph to a new ExportedProgram. The old one and its module stay as they are."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputSpec,
    TensorArgument,
)

from bnfold.errors import InternalError
from bnfold.frontends.aten.graph import Argument, AtenGraph, Node, Value
from bnfold.frontends.aten.journal import (
    ArgumentSet,
    NodeAdded,
    NodeRemoved,
    OperatorReplaced,
    ParameterChanged,
    Renamed,
)
from bnfold.frontends.torch_export.forms import settle_forms


def lower(program: ExportedProgram, graph: AtenGraph) -> ExportedProgram:
    """The program as the graph is now.

    Signature, dynamic shapes, example inputs and all names stay, except of tensors that hold other values. Parameters
    and buffers that nothing reads any more are gone.

    Args:
        program: that the graph was lifted from.
        graph: with its journal.
    """
    return _Lowering(program).run(graph)


class _Lowering:
    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._graph = fx.Graph()
        self._nodes: dict[fx.Node, fx.Node] = {}
        self._graph.output(self._graph.graph_copy(program.graph, self._nodes))
        for old, new in self._nodes.items():
            new.name = old.name  # copying renames what is called like a builtin, such as `input`
        _copy_output_meta(program.graph, self._graph)
        for old, new in self._nodes.items():
            new.name = old.name  # copying renames what is called like something of Python's own, such as "input"
        self._specs = {getattr(spec.arg, "name", ""): replace(spec) for spec in program.graph_signature.input_specs}
        self._state: dict[str, Any] = {**program.state_dict, **_own_buffers(program)}
        self._constants: dict[str, Any] = dict(program.constants)
        self._of_value: dict[Value, fx.Node] = {}
        self._of_node: dict[Node, fx.Node] = {}
        self._names: dict[fx.Node, str] = {}
        self._touched: dict[fx.Node, None] = {}
        self._gone: dict[str, str] = {}
        self._read = {node for node in self._graph.nodes if node.op == "placeholder" and node.users}

    def run(self, graph: AtenGraph) -> ExportedProgram:
        for change in graph.journal:
            step: Callable[[Any], None] = _STEPS[type(change)].__get__(self)
            step(change)
        self._drop_dead_parameters()
        settle_forms(self._graph, self._touched)
        old_names = {node: node.name for node in self._graph.nodes}
        for node, name in self._names.items():
            if node.graph is self._graph and not node._erased:
                node.name = name
        renamed = {old_names[node]: node.name for node in self._graph.nodes}
        return self._assemble(renamed)

    def _change_parameter(self, change: ParameterChanged) -> None:
        node = self._node_of(change.value)
        spec = self._specs[node.name]
        self._store(spec, node, _tensor(change.value))

    def _set_argument(self, change: ArgumentSet) -> None:
        node = self._operator(change.node)
        name, place = change.slot
        argument = self._argument(change.argument)
        if place is not None:
            whole = list(_argument_of(node, name))
            whole[place] = argument
            argument = whole
        _assign(node, name, argument)
        self._touched[node] = None

    def _replace_operator(self, change: OperatorReplaced) -> None:
        node = self._operator(change.node)
        arguments = {name: self._argument(argument) for name, argument in change.arguments.items()}
        node.target = _overload(change.op, arguments, node.target)
        node.args, node.kwargs = (), {}
        for name, argument in arguments.items():
            _assign(node, name, argument)
        self._touched[node] = None

    def _add_node(self, change: NodeAdded) -> None:
        after = self._operator(change.after)
        source = self._node_of(change.result)
        target = _overload(change.node.op, dict(change.node.arguments), None)
        with self._graph.inserting_after(source):
            added = self._graph.call_function(target, (source,))
        added.meta = {**after.meta, "val": source.meta.get("val")}
        source.replace_all_uses_with(added, delete_user_cb=lambda user: user is not added)
        self._of_value[change.inner], self._of_value[change.result] = source, added
        self._of_node[change.node] = added
        self._names[added], self._names[source] = self._names.get(source, source.name), change.inner.name
        for name, argument in change.node.arguments.items():
            _assign(added, name, self._argument(argument))
        self._touched[added] = None

    def _remove_node(self, change: NodeRemoved) -> None:
        output = self._node_of(change.output)
        if change.replacement is not None:
            replacement = self._node_of(change.replacement)
            for user in output.users:
                self._touched[user] = None
            output.replace_all_uses_with(replacement)
            self._gone[output.name] = replacement.name
        node = self._operator(change.node)
        for user in [*node.users, node]:
            self._graph.erase_node(user)
            self._touched.pop(user, None)

    def _rename(self, change: Renamed) -> None:
        self._names[self._node_of(change.value)] = change.name

    def _operator(self, node: Node) -> fx.Node:
        return self._nodes[node.origin] if node.origin is not None else self._of_node[node]

    def _node_of(self, value: Value) -> fx.Node:
        if value in self._of_value:
            return self._of_value[value]
        if value.origin is None:
            raise InternalError(f"{value.name!r} is not in the program")
        return self._nodes[value.origin]

    def _argument(self, argument: Argument) -> Any:  # noqa: ANN401 - whatever fx holds
        if isinstance(argument, Value):
            if argument.origin is None and argument not in self._of_value:
                self._of_value[argument] = self._new_parameter(argument)
            return self._node_of(argument)
        return [self._argument(element) for element in argument] if isinstance(argument, list) else argument

    def _new_parameter(self, value: Value) -> fx.Node:
        """A placeholder behind those of the other parameters."""
        placeholders = [node for node in self._graph.nodes if node.op == "placeholder"]
        last = None
        for node in placeholders:
            if self._specs[node.name].kind is InputKind.PARAMETER:
                last = node
        first = next(iter(self._graph.nodes))
        with self._graph.inserting_before(first) if last is None else self._graph.inserting_after(last):
            node = self._graph.placeholder(f"p_{value.name.replace('.', '_')}")
        node.meta = {"val": None}
        spec = InputSpec(InputKind.PARAMETER, TensorArgument(node.name), value.name)
        self._specs[node.name] = spec
        self._read.add(node)
        self._store(spec, node, _tensor(value))
        return node

    def _store(self, spec: InputSpec, node: fx.Node, tensor: torch.Tensor) -> None:
        if spec.target is None:
            raise InternalError(f"{node.name!r} is no parameter")
        home = self._state if spec.kind is InputKind.PARAMETER or spec.target in self._state else self._constants
        old = home.get(spec.target)
        if spec.kind is InputKind.PARAMETER:
            tensor = torch.nn.Parameter(tensor, requires_grad=bool(getattr(old, "requires_grad", False)))
        for name, twin in list(home.items()):
            # Another name of the same parameter, which no operator reads.
            if twin is old and old is not None and not self._is_target(name):
                home[name] = tensor
        home[spec.target] = tensor
        node.meta["val"] = _fake(tensor, self._graph)

    def _is_target(self, name: str) -> bool:
        return any(spec.target == name for spec in self._specs.values())

    def _drop_dead_parameters(self) -> None:
        dead = [node for node in self._graph.nodes if node in self._read and not node.users]
        dead = [node for node in dead if self._specs[node.name].kind is not InputKind.USER_INPUT]
        prefixes = {_owner(self._specs[node.name].target) for node in dead if _is_statistic(self._specs[node.name])}
        for node in self._graph.nodes:
            if node.op != "placeholder" or node.users or node in dead:
                continue
            target = self._specs[node.name].target or ""
            if target.endswith("num_batches_tracked") and _owner(target) in prefixes:
                dead.append(node)
        gone = [self._specs.pop(node.name).target for node in dead]
        for node in dead:
            self._graph.erase_node(node)
            self._touched.pop(node, None)
        for home in (self._state, self._constants):
            tensors = {id(home[target]) for target in gone if target in home}
            for name in [name for name in home if name in gone or (id(home[name]) in tensors)]:
                if not self._is_target(name):
                    del home[name]

    def _assemble(self, renamed: dict[str, str]) -> ExportedProgram:
        old = self._program
        placeholders = [node for node in self._graph.nodes if node.op == "placeholder"]
        signature = ExportGraphSignature([self._specs[node.name] for node in placeholders], self._output_specs())
        further: dict[str, Any] = {}
        if hasattr(old, "verifiers"):
            further["verifiers"] = old.verifiers
        elif hasattr(old, "verifier"):
            further["verifier"] = old.verifier
        new = ExportedProgram(
            root=old.graph_module,
            graph=self._graph,
            graph_signature=signature,
            state_dict=self._state,
            range_constraints=copy.copy(old.range_constraints),
            module_call_graph=self._module_calls(renamed),
            example_inputs=old.example_inputs,
            constants=self._constants,
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


def _own_buffers(program: ExportedProgram) -> dict[str, Any]:
    """Copies of what a program may write to: running the new one does not change the old one."""
    parameters = {spec.target for spec in program.graph_signature.input_specs if spec.kind is InputKind.PARAMETER}
    return copy.deepcopy({name: held for name, held in program.state_dict.items() if name not in parameters})


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
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    place = next(place for place, entry in enumerate(schema) if entry.name == name)
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
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    place = next(place for place, entry in enumerate(schema) if entry.name == name)
    return node.args[place] if place < len(node.args) else node.kwargs[name]


def _tensor(value: Value) -> torch.Tensor:
    if value.parameter is None:
        raise InternalError(f"{value.name!r} has no values")
    return value.parameter


def _fake(tensor: torch.Tensor, graph: fx.Graph) -> torch.Tensor:
    """What a tensor looks like to shape propagation, beside those of the program."""
    for node in graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None:
            fake: torch.Tensor = mode.from_tensor(tensor.detach(), static_shapes=True)
            return fake
    return tensor.detach().to("meta")


def _copy_output_meta(old: fx.Graph, new: fx.Graph) -> None:
    new.find_nodes(op="output")[0].meta = dict(old.find_nodes(op="output")[0].meta)


def _owner(target: str | None) -> str:
    return (target or "").rpartition(".")[0]


def _is_statistic(spec: InputSpec) -> bool:
    return (spec.target or "").rpartition(".")[2] in ("running_mean", "running_var")
