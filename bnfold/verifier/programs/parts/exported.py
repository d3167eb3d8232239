"""The graph of an ExportedProgram, parameters read by their names."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from bnfold.verifier.programs.parts.graph import Function, Node, Part, ProgramGraph, Value
from bnfold.verifier.programs.parts.writes import touched
from bnfold.verifier.programs.tensors import as_seen, named_leaves

_HALF = frozenset({torch.float16, torch.bfloat16})
_NARROW = _HALF | {torch.float32}
_IS_ENABLED = 2
"""Of the arguments of a region of autocast."""
_CONVERSIONS = frozenset({"aten._to_copy.default", "aten.to.dtype", "prims.convert_element_type.default"})


class ExportedGraph(ProgramGraph):
    """Of the module that torch makes of an ExportedProgram.

    Args:
        module: with its parameters as attributes.
        returned: the structure of what it returns.
    """

    def __init__(self, module: fx.GraphModule, returned: pytree.TreeSpec) -> None:
        super().__init__()
        self._module = module
        self._values: dict[fx.Node, Value] = {}
        self._held: dict[fx.Node, Any] = {}
        """Bodies, and other constants that are no tensors: they belong to the nodes that read them."""
        state: dict[str, Value] = {}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self.inputs.append(self._value(node))
            elif node.op == "get_attr":
                held = operator.attrgetter(node.target)(module)
                if isinstance(held, torch.Tensor):
                    value = self._values[node] = state.setdefault(node.target, self._value(node))
                    value.tensor = held
                else:
                    self._held[node] = held
            elif node.op == "call_function":
                self._add(node)
            elif node.op == "output":
                outputs = named_leaves(pytree.tree_unflatten(pytree.tree_leaves(node.args), returned))
        kept = {f"state {name}": value for name, value in state.items()}
        kept |= {f"input {value.label}": value for value in self.inputs}
        made = {path: self._value(leaf) for path, leaf in outputs.items() if isinstance(leaf, fx.Node)}
        self._append_results(made, {name: (value, value) for name, value in kept.items()})

    def _value(self, node: fx.Node) -> Value:
        return self._values.setdefault(node, Value(node.name, node))

    def _add(self, node: fx.Node) -> None:
        leaves = _nodes_in((node.args, node.kwargs))
        reads = [self._value(leaf) for leaf in leaves if leaf not in self._held]
        held = [self._held[leaf] for leaf in leaves if leaf in self._held]
        added = Node(
            op=str(node.target),
            reads=tuple(reads),
            static=(str(fx.node.map_aggregate((node.args, node.kwargs), _without_nodes)), *map(_text, held)),
            outputs=(self._value(node),),
            handle=node,
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

    def function(self, part: Part, *, taken: bool | None = None) -> Function:
        """As in `ProgramGraph`."""
        last = {operand: node for node in part.nodes for operand in node.operands} | {part.target: None}
        calls = [self._call_of(node, taken) for node in part.nodes]

        def run(values: Sequence[Any]) -> Any:  # noqa: ANN401
            made = dict(zip((*part.given, *part.stored), values, strict=True))
            for node, (args, kwargs) in zip(part.nodes, calls, strict=True):
                now = {read.handle: made[operand] for read, operand in zip(node.reads, node.operands, strict=True)}
                given: Any = fx.node.map_arg((args, kwargs), (self._held | now).__getitem__)
                made[node.outputs[0]] = node.handle.target(*given[0], **given[1])
                for operand in node.operands:
                    if last[operand] is node:
                        made.pop(operand, None)
            return made[part.target]

        return run

    def _call_of(self, node: Node, taken: bool | None) -> Any:  # noqa: ANN401 - whatever fx holds
        """Positional and named arguments, with float64 for every narrower type."""
        args, kwargs = _wide((node.handle.args, node.handle.kwargs))
        if taken is not None and node.chooses:
            args = (taken, *args[1:])
        if node.computes_in is not None:
            args = (*args[:_IS_ENABLED], False, *args[_IS_ENABLED + 1 :])
        return args, kwargs

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


def autocast_dtype(node: fx.Node) -> torch.dtype | None:
    """What a region of autocast computes in, whatever it reads; None of other nodes, and where it is switched off."""
    if getattr(node.target, "__name__", "") != "wrap_with_autocast":
        return None
    device, dtype, is_enabled, *_ = node.args
    return (dtype or torch.get_autocast_dtype(device)) if is_enabled else None  # type: ignore[return-value, arg-type]


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


def _text(held: Any) -> Any:  # noqa: ANN401 - a body, or another constant
    """What a body does, and those inside of it; any other constant itself."""
    if not isinstance(held, fx.GraphModule):
        return held
    inner = [module for module in held.children() if isinstance(module, fx.GraphModule)]
    return "\n".join([str(held.graph), *map(_text, inner)])


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
