"""Edits of an AtenGraph as the engine asks for them: parameters, operators, removals."""

import numpy as np
import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import AtenConstants, numpy_dtype, to_torch
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.memory import family_of, mark
from bnfold.frontends.aten.node import AtenNode, AtenValue, Slot, reads_values
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.aten.removal import separations
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.precision import AnyArray
from bnfold.refusal import Refusal

# What the constants of an operator are called that stands for a BatchNorm: its own weight and bias are others.
_SAID = {
    ("mul", "other"): "scale",
    ("add", "other"): "shift",
    **{(f"conv{axes}d", name): f"conv_{name}" for axes in (1, 2, 3) for name in ("weight", "bias")},
}


class AtenEditor:
    """Carries out edits.

    Args:
        graph: the graph.
        constants: of the graph.
    """

    def __init__(self, graph: AtenGraph, constants: AtenConstants) -> None:
        self._graph = graph
        self._constants = constants
        self._renamed: set[AtenValue] = set()

    def apply(self, edit: AtenEdit) -> None:
        """Give a node new arguments."""
        node, weight_name = edit.node, _weight_name(edit.node)
        for slot, parameter in edit.parameters.items():
            self._set_parameter(node, slot, parameter, weight_name)
        for name, number in edit.numbers.items():
            if node.arguments[name] != number:
                self._graph.set_argument(node, (name, None), number)
        for name, argument in edit.lists.items():
            self._graph.set_argument(node, (name, None), argument)
        if edit.op:
            arguments = {new: node.arguments[old] for new, old in edit.moved.items()}
            for name, parameter in edit.added.items():
                arguments[name] = self._new(_bias_name(weight_name), parameter, node)
            self._graph.replace_operator(node, operator_of(edit.op), arguments)
        if edit.bias_behind is not None:
            bias = self._new(_bias_name(weight_name), edit.bias_behind, node)
            addition = operator_of("aten::add")
            self._graph.add_behind(node, addition, "self", {"other": bias, "alpha": 1}, f"{node.label}_bias")
        for other in edit.further:
            self.apply(other)
        for value in edit.renamed:
            self._rename(value)

    def succeed(self, edit: AtenEdit) -> list[AtenNode]:
        """Put the successors of a node in its place, each of which makes a tensor of its own."""
        node, weight_name = edit.node, _weight_name(edit.node)
        added: list[AtenNode] = []
        for successor in reversed(edit.successors):
            what = successor.op.rpartition("::")[2]
            tensors = {
                name: self._new(_name_beside(weight_name, node, _SAID[what, name]), parameter, node)
                for name, parameter in successor.tensors.items()
            }
            arguments = {**tensors, **successor.arguments}
            operator = operator_of(successor.op)
            label = f"{node.label}_{what}"
            added.insert(0, self._graph.add_behind(node, operator, successor.operand, arguments, label))
        self._graph.bypass(node, node.inputs[0])
        return added

    def bypass(self, node: AtenNode, source: int) -> AtenValue:
        """Remove a node: who read its output reads its input, which is returned."""
        replacement, gone = node.inputs[source], node.outputs[0]
        separate = separations(node, source)
        if isinstance(separate, Refusal):
            raise InternalError(f"{node.label!r} was to be removed: {separate.evidence}")
        for writer in separate:
            self._graph.replace_operator(writer, operator_of(writer.operator.functional), writer.arguments)
        if gone is not None and gone.mutation:
            mark(family_of(replacement), gone.mutation)
        self._graph.bypass(node, replacement)
        return replacement

    def _set_parameter(self, node: AtenNode, slot: Slot, parameter: NewParameter, weight_name: str) -> None:
        """New values for a constant: in its own place where nobody else reads it, else under a new name."""
        old = node.at(slot)
        if isinstance(old, AtenValue) and self._write_back(old, parameter):
            return
        stored = _stored(old) if isinstance(old, AtenValue) else None
        if stored is not None and stored.parameter is not None:
            name = f"{stored.name}_folded"
        else:
            name = _bias_name(weight_name) if slot[0] == "bias" and weight_name else f"{_module_of(node)}.{slot[0]}"
            name = f"{name}_folded" if name in self._graph.names else name
        self._graph.set_argument(node, slot, self._new(name, parameter, node))

    def _write_back(self, value: AtenValue, parameter: NewParameter) -> bool:
        """Give the stored parameter behind a constant the values that make it this one, if that is possible."""
        exact: Array | None = parameter.exact
        rounded: AnyArray | None = parameter.rounded
        between: list[AtenValue] = []
        while value.producer is not None and exact is not None and rounded is not None:
            undo = value.producer.operator.undo
            if undo is None or not _is_read_once(value, exact.shape) or value.shape != exact.shape:
                return False
            between.append(value)
            node, value = value.producer, value.producer.inputs[0]
            exact, rounded = undo(node, exact), undo(node, rounded)
        if exact is None or rounded is None or value.parameter is None or value.mutation:
            return False
        if not _is_read_once(value, exact.shape):
            return False
        stored = value.parameter.dtype
        if any(torch.promote_types(stored, computed.dtype or stored) != stored for computed in between):
            return False
        rounded = exact.astype(numpy_dtype(stored)) if rounded.dtype != numpy_dtype(stored) else rounded
        for computed in between:
            self._rename(computed)
        self._store(value, exact, rounded)
        return True

    def _rename(self, value: AtenValue) -> None:
        """Give a tensor with other values another name, once."""
        if value not in self._renamed:
            self._renamed.add(value)
            self._graph.rename(value, self._graph.fresh_name(f"{value.name}_folded"))

    def _store(self, value: AtenValue, exact: Array, rounded: AnyArray) -> None:
        device = "cpu" if value.parameter is None else value.parameter.device
        self._graph.set_parameter(value, to_torch(rounded).to(device))
        self._constants.remember(value, np.array(exact))

    def _new(self, name: str, parameter: NewParameter, node: AtenNode) -> AtenValue:
        """A parameter for a node, beside those that it has."""
        value = self._graph.new_parameter(name, to_torch(parameter.rounded).to(device_of(node)))
        self._constants.remember(value, np.array(parameter.exact))
        return value


def _is_read_once(value: AtenValue, shape: tuple[int, ...]) -> bool:
    """Whether one reader alone would notice new values; who asks for the shape notices another shape."""
    readers = [slot for node, slot in value.readers if value.shape != shape or reads_values(node, slot)]
    return len(readers) == 1 and not value.is_output


def _module_of(node: AtenNode) -> str:
    """The module that a label names, which may say the operator as well."""
    module, _, last = node.label.rpartition(".")
    return module if module and last.startswith(node.op.rpartition("::")[2]) else node.label


def _stored(value: AtenValue) -> AtenValue:
    """What is only laid out otherwise."""
    while value.producer is not None and value.producer.operator.undo is not None:
        value = value.producer.inputs[0]
    return value


def device_of(node: AtenNode) -> torch.device:
    """Where the parameters of a node live; numbers that are stored without an axis may live anywhere."""
    stored = [_stored(value).parameter for value in node.inputs]
    devices = [tensor.device for tensor in stored if tensor is not None and tensor.dim() > 0]
    return devices[0] if devices else torch.device("cpu")


def _weight_name(node: AtenNode) -> str:
    """Name of the parameter that a bias belongs to."""
    for name in ("weight", "mat2", "other", "self"):
        value = node.arguments.get(name)
        if isinstance(value, AtenValue) and (value.parameter is not None or value.producer is not None):
            stored = _stored(value)
            if value.parameter is not None or stored is not value:
                return stored.name
    return ""


def _name_beside(weight_name: str, node: AtenNode, what: str) -> str:
    """A name for a new parameter in the module of a norm: "bn1.scale" beside "bn1.weight"."""
    stem = weight_name[: -len("weight")] if weight_name.endswith("weight") else f"{_module_of(node)}."
    return f"{stem}{what}"


def _bias_name(weight_name: str) -> str:
    """A name that people recognise: the weight's with "weight" made "bias"."""
    if weight_name.endswith("weight"):
        return weight_name[: -len("weight")] + "bias"
    return f"{weight_name or 'folded'}_bias"
