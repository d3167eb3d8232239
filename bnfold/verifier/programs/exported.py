"""ExportedPrograms as programs: a copy runs, and gets its state back before every run."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bnfold.verifier.programs.ports import TorchPort
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import numpy_dtype

if TYPE_CHECKING:
    import torch

    from bnfold.verifier.programs.parts.graph import ProgramGraph


class RunnableExport(TorchProgram):
    """An ExportedProgram.

    Args:
        role: how messages call it.
        program: left as it is.
    """

    def __init__(self, role: str, program: "torch.export.ExportedProgram") -> None:
        self.role, self.ports = role, tuple(_ports(program))
        self._spec, self._returned = program.call_spec
        own: Any = copy.copy(program)
        # In one go, so that tensors that share memory share it in the copy as well.
        state, constants = copy.deepcopy((dict(program.state_dict), _tensors(program.constants)))
        own._state_dict, own._constants = state, {**program.constants, **constants}
        self._module = own.module()
        self._tensors: dict[str, torch.Tensor] = {**_tensors(state), **constants}
        self._given = {**_tensors(program.state_dict), **_tensors(program.constants)}
        self.dtypes = {tensor.dtype for tensor in self._given.values()} | _computed_types(program.graph_module)

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """See TorchProgram."""
        return list(leaves)

    def graph(self) -> "ProgramGraph":
        """See TorchProgram."""
        from bnfold.verifier.programs.parts.exported import ExportedGraph

        return ExportedGraph(self._module, self._returned)

    def _begin(self) -> None:
        for name, tensor in self._written().items():
            tensor.copy_(self._given[name])

    _end = _begin

    def _call(self, leaves: Sequence[Any]) -> object:
        from torch.utils import _pytree as pytree

        args, kwargs = pytree.tree_unflatten(list(leaves), self._spec)
        return self._module(*args, **kwargs)

    def _held(self) -> Mapping[str, Any]:
        return self._tensors


def _tensors(held: Mapping[str, Any]) -> dict[str, "torch.Tensor"]:
    import torch

    return {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}


def _computed_types(module: "torch.fx.GraphModule") -> "set[torch.dtype]":
    """Of all tensors that operators make, in bodies of others too, and of regions of autocast."""
    import torch

    from bnfold.verifier.programs.parts.exported import autocast_dtype

    types: set[torch.dtype] = set()
    for graph_module in module.modules():
        for node in graph_module.graph.nodes if isinstance(graph_module, torch.fx.GraphModule) else ():
            narrow = autocast_dtype(node)
            if narrow is not None:
                types.add(narrow)
            elif isinstance(node.meta.get("val"), torch.Tensor):
                types.add(node.meta["val"].dtype)
    return types


def _ports(program: "torch.export.ExportedProgram") -> Iterator[TorchPort]:
    """In the order of its placeholders: of "pair_0", which is one of a nested input, the name is "pair.0"."""
    from torch.export.graph_signature import InputKind
    from torch.utils import _pytree as pytree

    specs = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    placeholders = [str(getattr(argument, "name", "")) for argument in specs]
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    examples = [None] * len(specs) if program.example_inputs is None else pytree.tree_leaves(program.example_inputs)
    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(placeholders, program.call_spec.in_spec))
    for (path, placeholder), example in zip(paths, examples, strict=True):
        keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path[2:]]
        base = placeholder.removesuffix("".join(f"_{key}" for key in keys))
        name = ".".join([base, *keys]) if base != placeholder else placeholder
        yield replace(_port(name, nodes.get(placeholder), example), alias=placeholder)


def _port(name: str, node: Any, example: object) -> TorchPort:  # noqa: ANN401 - an fx.Node
    """From the example where there is one, else from the graph; a size that is not fixed gets its hint."""
    import torch

    traced = None if node is None else node.meta.get("val")
    held = traced if example is None else example
    if not isinstance(held, torch.Tensor):
        return TorchPort(name, type(held).__name__, constant=held, is_optional=True)
    fixed = traced.shape if isinstance(traced, torch.Tensor) else held.shape
    shape = tuple(size if isinstance(size, int) else None for size in fixed)
    return TorchPort(name, "Tensor", numpy_dtype(held.dtype), tuple(map(_size, held.shape)), shape)


def _size(size: Any) -> int:  # noqa: ANN401 - an int or a torch.SymInt
    hint = size if isinstance(size, int) else getattr(size.node, "hint", None)
    return int(hint) if hint is not None else 2
