"""What an exported program holds: parameters, buffers and constants, and the placeholders that stand for them."""

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

from bnfold.errors import InternalError
from bnfold.frontends.torch_export.bodies import Call, placeholders
from bnfold.frontends.torch_export.copies import Copies


class Parameters:
    """The tensors of a program that is being changed.

    Args:
        program: left as it is.
        graph: the copy of its graph.

    Attributes:
        state: what will be its state dict.
        constants: what will be its constants.
    """

    def __init__(self, program: ExportedProgram, graph: fx.Graph) -> None:
        self.state: dict[str, Any] = {**program.state_dict, **_own_buffers(program)}
        self.constants: dict[str, Any] = dict(program.constants)
        self._graph = graph
        self._specs = {getattr(spec.arg, "name", ""): replace(spec) for spec in program.graph_signature.input_specs}

    def specs(self) -> list[InputSpec]:
        """The inputs of the program as its signature lists them."""
        return [self._specs[node.name] for node in placeholders(self._graph)]

    def add(self, target: str, tensor: torch.Tensor) -> fx.Node:
        """A placeholder behind those of the other parameters."""
        last = None
        for node in placeholders(self._graph):
            if self._specs[node.name].kind is InputKind.PARAMETER:
                last = node
        first = next(iter(self._graph.nodes))
        with self._graph.inserting_before(first) if last is None else self._graph.inserting_after(last):
            node = self._graph.placeholder(f"p_{target.replace('.', '_')}")
        node.meta = {"val": None}
        self._specs[node.name] = InputSpec(InputKind.PARAMETER, TensorArgument(node.name), target)
        self.change(node, tensor)
        return node

    def change(self, node: fx.Node, tensor: torch.Tensor) -> bool:
        """Give a parameter other values; whether it has another shape or type now."""
        spec = self._specs[node.name]
        if spec.target is None:
            raise InternalError(f"{node.name!r} is no parameter")
        home = self.state if spec.kind is InputKind.PARAMETER or spec.target in self.state else self.constants
        old = home.get(spec.target)
        if spec.kind is InputKind.PARAMETER:
            tensor = torch.nn.Parameter(tensor, requires_grad=bool(getattr(old, "requires_grad", False)))
        for name, twin in list(home.items()):
            # Another name of the same parameter, which no operator reads.
            if twin is old and old is not None and not self._is_target(name):
                home[name] = tensor
        home[spec.target] = tensor
        before, after = node.meta["val"], _fake(tensor, self._graph)
        node.meta["val"] = after
        return before is not None and (before.shape, before.dtype) != (after.shape, after.dtype)

    def drop_unread(self, read: Collection[fx.Node]) -> list[fx.Node]:
        """Remove what was read before and is not any more, and the counters of statistics that are gone.

        Args:
            read: placeholders that had readers.

        Returns:
            The nodes that are gone.
        """
        unread = [node for node in placeholders(self._graph) if not node.users]
        dead = [node for node in unread if node in read and self._specs[node.name].kind is not InputKind.USER_INPUT]
        prefixes = {_owner(self._specs[node.name].target) for node in dead if _is_statistic(self._specs[node.name])}
        for node in unread:
            target = self._specs[node.name].target or ""
            if node not in dead and target.endswith("num_batches_tracked") and _owner(target) in prefixes:
                dead.append(node)
        gone = [self._specs.pop(node.name).target for node in dead]
        for node in dead:
            self._graph.erase_node(node)
        for home in (self.state, self.constants):
            tensors = {id(home[target]) for target in gone if target in home}
            for name in [name for name in home if name in gone or (id(home[name]) in tensors)]:
                if not self._is_target(name):
                    del home[name]
        return dead

    def _is_target(self, name: str) -> bool:
        return any(spec.target == name for spec in self._specs.values())


def _own_buffers(program: ExportedProgram) -> dict[str, Any]:
    """Copies of what a program may write to: running the new one does not change the old one."""
    parameters = {spec.target for spec in program.graph_signature.input_specs if spec.kind is InputKind.PARAMETER}
    return copy.deepcopy({name: held for name, held in program.state_dict.items() if name not in parameters})


def drop_unread_operands(copies: Copies, read: Collection[fx.Node]) -> None:
    """Take off what no body of an operator reads any more, inner bodies first: an operand of theirs is a reader.

    Args:
        copies: the graphs.
        read: placeholders that had readers.
    """
    for call in copies.calls:
        _drop_unread(call, read)


def _drop_unread(call: Call, read: Collection[fx.Node]) -> None:
    taken = [placeholders(body) for body in call.bodies]
    if any(len(each) != len(call.operands) for each in taken):
        return
    fixed = call.fixed
    first = len(call.operands) - len(fixed)
    kept = []
    for place, operand in enumerate(fixed, start=first):
        inner = [each[place] for each in taken]
        if any(node.users for node in inner) or not any(node in read for node in inner):
            kept.append(operand)
            continue
        for node in inner:
            node.graph.erase_node(node)
    call.set_fixed(kept)


def _fake(tensor: torch.Tensor, graph: fx.Graph) -> torch.Tensor:
    """What a tensor looks like to shape propagation, beside those of the program."""
    for node in graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None:
            fake: torch.Tensor = mode.from_tensor(tensor.detach(), static_shapes=True)
            return fake
    return tensor.detach().to("meta")


def _owner(target: str | None) -> str:
    return (target or "").rpartition(".")[0]


def _is_statistic(spec: InputSpec) -> bool:
    return (spec.target or "").rpartition(".")[2] in ("running_mean", "running_var")
