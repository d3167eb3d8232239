"""Edits of the indexed graph. The protobuf's own lists of nodes and tensors change once, at the end, in writer.py."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from bnfold.errors import InternalError
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.attributes import set_float_attribute, set_int_attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue
from bnfold.frontends.onnx.node_edits import OnnxEdit
from bnfold.frontends.onnx.requantize import Requantized


@dataclass(eq=False)
class ModelEditor:
    """Carries out edits on a model.

    Attributes:
        index: of the model.
        constants: of the model.
        removed_nodes: nodes that are gone.
        added_nodes: new nodes, each after the one that stands before it.
        removed_values: tensors that are gone.
        stored_anew: tensors whose data must be written.
        frozen: initializers that the caller could replace before and cannot any more.
        renamed: tensors with another name than in the file, and the name there.
        reshaped: tensors with another shape than in the file.
    """

    index: GraphIndex
    constants: OnnxConstants
    removed_nodes: set[OnnxNode] = field(default_factory=set)
    added_nodes: dict[OnnxNode, list[OnnxNode]] = field(default_factory=dict)
    removed_values: list[OnnxValue] = field(default_factory=list)
    stored_anew: dict[OnnxValue, None] = field(default_factory=dict)
    frozen: dict[OnnxValue, None] = field(default_factory=dict)
    renamed: dict[OnnxValue, str] = field(default_factory=dict)
    reshaped: set[OnnxValue] = field(default_factory=set)

    def nodes(self) -> Iterator[OnnxNode]:
        """The nodes that are there now, scope by scope, in the order of the file."""
        for node in self.index.nodes():
            if node not in self.removed_nodes:
                yield node
            yield from (added for added in self.added_nodes.get(node, ()) if added not in self.removed_nodes)

    def apply(self, edit: OnnxEdit) -> None:
        """Give a node new parameters."""
        node = edit.node
        # The bias first: exporters compute an absent one from the shape of the weight, and then nobody else reads that.
        for slot in sorted(edit.parameters, reverse=True):
            self._set_parameter(node, slot, edit.parameters[slot])
        for change in edit.requantized:
            self._requantize(node, change)
        if edit.keeps_inputs is not None:
            self._trim(node, edit.keeps_inputs)
        if edit.bias_behind is not None:
            self._add_behind(node, edit.bias_behind)
        if edit.op_type:
            node.proto.op_type = edit.op_type
        if edit.widens_output:
            self._reshape_output(node)
        for name, value in edit.float_attributes.items():
            set_float_attribute(node.proto, name, value)
        for name, numbers in edit.attributes.items():
            set_int_attribute(node.proto, name, numbers)

    def bypass_upstream(self, node: OnnxNode, source: int) -> None:
        """Remove a node; what made its input now makes a tensor with its output's name."""
        before, after = node.inputs[source], node.outputs[0]
        if before is None or after is None or before.producer is None:
            raise InternalError(f"{node.label!r} cannot be bypassed upstream")
        self._clear_name(after)
        self._remove_node(node, keep=before)
        producer = before.producer
        slot = producer.outputs.index(before)
        producer.outputs[slot] = after
        producer.proto.output[slot] = after.name
        after.producer = producer
        self._redirect(before, after)
        self._forget(before)

    def bypass_downstream(self, node: OnnxNode, source: int) -> None:
        """Remove a node; what read its output now reads its input."""
        before, after = node.inputs[source], node.outputs[0]
        if before is None or after is None or after.is_output:
            raise InternalError(f"{node.label!r} cannot be bypassed downstream")
        self._remove_node(node, keep=before)
        self._redirect(after, before)
        self._forget(after)

    def merge(self, node: OnnxNode, source: int, twin: OnnxNode) -> None:
        """Remove a node; what read its output now reads that of its twin."""
        before, after = twin.outputs[0], node.outputs[0]
        if before is None or after is None or after.is_output:
            raise InternalError(f"{node.label!r} cannot be merged into {twin.label!r}")
        shared = node.inputs[source]
        for constant in twin.inputs:
            if constant is not None and constant is not shared:
                self._freeze(constant)
        self._remove_node(node, keep=shared)
        self._redirect(after, before)
        self._forget(after)

    def drop_operand(self, node: OnnxNode, slot: int) -> None:
        """Take an input off a node that has any number of them."""
        for place, value in enumerate(node.inputs):
            if value is not None and place >= slot:
                value.drop_reader(node, place)
                if place > slot:
                    value.add_reader(node, place - 1)
        del node.inputs[slot]
        del node.proto.input[slot]

    def remove(self, node: OnnxNode) -> None:
        """Remove a node that nobody reads, and the constants that it alone read."""
        if any(value is not None and (value.readers or value.is_output) for value in node.outputs):
            raise InternalError(f"{node.label!r} is read, and cannot be removed")
        self._remove_node(node)
        for value in node.outputs:
            if value is not None:
                self._forget(value)

    def rename(self, value: OnnxValue) -> None:
        """Give a tensor a fresh name. Entries that only describe it follow at the end, all at once, in writer.py."""
        old = value.name
        self.renamed.setdefault(value, old)
        value.name = self._fresh_name(f"{old}_folded")
        del value.scope.values[old]
        value.scope.values[value.name] = value
        if value.producer is not None:
            value.producer.proto.output[value.producer.outputs.index(value)] = value.name
        if value.initializer is not None:
            value.initializer.name = value.name
        for reader, slot in value.readers:
            reader.proto.input[slot] = value.name

    def _clear_name(self, value: OnnxValue) -> None:
        """Free a name that a body also uses, before a tensor takes it over that is made ahead of the body."""
        for scope in self.index.within(value.scope):
            rival = scope.values.get(value.name)
            if rival is not None:
                self.rename(rival)

    def _set_parameter(self, node: OnnxNode, slot: int, parameter: NewParameter) -> None:
        """New values for a constant input: in its own place where nobody else reads it, else under a new name."""
        old = node.inputs[slot] if slot < len(node.inputs) else None
        if old is not None and not old.is_output and _is_alone(old, parameter):
            if not self._refill(old, parameter):
                self._own(old)
            elif old not in self.renamed:
                self.rename(old)
            self._store(old, parameter)
            return
        if old is not None:
            self._freeze(old)
        scope = node.scope
        name = self._fresh_name(_name_for_new_parameter(node, old))
        value = scope.values[name] = OnnxValue(name, scope)
        self._connect(node, slot, value)
        self._store(value, parameter)

    def _requantize(self, reader: OnnxNode, change: Requantized) -> None:
        """Give a DequantizeLinear other inputs; one whose output somebody else sees keeps its own, and gets a copy."""
        node, made = change.node, change.node.outputs[0]
        if made is not None and (made.is_output or len(made.value_readers) > 1):
            node = self._copy_for(reader, change.slot, node, made)
        elif made is not None:
            self.rename(made)
        for slot, parameter in change.parameters.items():
            self._set_parameter(node, slot, parameter)
        if change.axis is not None:
            set_int_attribute(node.proto, "axis", change.axis)

    def _copy_for(self, reader: OnnxNode, slot: int, node: OnnxNode, made: OnnxValue) -> OnnxNode:
        """The same node once more, for one input of one reader."""
        output = OnnxValue(
            self._fresh_name(f"{made.name}_folded"), node.scope, shape=made.shape, element_type=made.element_type
        )
        node.scope.values[output.name] = output
        proto = onnx.NodeProto()
        proto.CopyFrom(node.proto)
        proto.name = self._fresh_node_name(f"{node.proto.name or made.name}_folded")
        proto.output[0] = output.name
        copy = OnnxNode(proto, node.scope, list(node.inputs), [output], (node.position[0], node.position[1] + 1))
        output.producer = copy
        for place, source in enumerate(copy.inputs):
            if source is not None:
                source.add_reader(copy, place)
        self._connect(reader, slot, output)
        self.added_nodes.setdefault(node, []).append(copy)
        return copy

    def _trim(self, node: OnnxNode, inputs: int) -> None:
        """Leave a node so many inputs, and one output."""
        gone = node.inputs[inputs:]
        for slot, value in enumerate(gone, start=inputs):
            if value is not None:
                value.drop_reader(node, slot)
                self._freeze(value)
        del node.inputs[inputs:], node.proto.input[inputs:]
        del node.outputs[1:], node.proto.output[1:]
        self._drop_unread_constants([value for value in gone if value is not None])

    def _reshape_output(self, node: OnnxNode) -> None:
        output, tell = node.outputs[0], node.traits.tell_output_shape
        if output is not None:
            output.shape = None if tell is None else tell(node)
            self.reshaped.add(output)

    def _freeze(self, value: OnnxValue) -> None:
        """The fold has used these values for one reader: the caller can no longer replace them for the others."""
        waiting = [value]
        while waiting:
            source = waiting.pop()
            if source.initializer is not None and source.is_input:
                self.frozen[source] = None
            if source.producer is not None and self.constants.is_fixed(source):
                waiting += [entry for entry in source.producer.inputs if entry is not None]

    def _refill(self, value: OnnxValue, parameter: NewParameter) -> bool:
        """Keep a ConstantOfShape where one number still says it all: light models stay light."""
        producer, numbers = value.producer, parameter.rounded
        if producer is None or producer.proto.op_type != "ConstantOfShape" or value.shape != numbers.shape:
            return False
        if numbers.size < 2 or np.any(numbers != numbers.reshape(-1)[0]):
            return False
        fill = onnx.numpy_helper.from_array(numbers.reshape(-1)[:1], "value")
        del producer.proto.attribute[:]
        producer.proto.attribute.append(onnx.helper.make_attribute("value", fill))
        return True

    def _own(self, value: OnnxValue) -> None:
        """Turn a constant that a node makes into one that the graph stores under the same name."""
        if value.producer is None:
            return
        producer, value.producer = value.producer, None
        producer.outputs[producer.outputs.index(value)] = None
        self._remove_node(producer)

    def _store(self, value: OnnxValue, parameter: NewParameter) -> None:
        value.shape = parameter.rounded.shape
        self.constants.remember(value, parameter)
        if value.producer is None:
            self.stored_anew[value] = None

    def _add_behind(self, node: OnnxNode, bias: NewParameter) -> None:
        """Put an Add of a vector behind a node; the Add makes the tensor that the node made."""
        result = node.outputs[0]
        if result is None:
            raise InternalError(f"{node.label!r} has no output")
        inner = OnnxValue(self._fresh_name(f"{result.name}_before_bias"), node.scope, node, shape=result.shape)
        node.scope.values[inner.name] = inner
        node.outputs[0] = inner
        node.proto.output[0] = inner.name
        vector = OnnxValue(self._fresh_name(_name_for_new_parameter(node, None)), node.scope)
        node.scope.values[vector.name] = vector
        stem = node.proto.name or inner.name
        proto = onnx.helper.make_node("Add", ["", ""], [result.name], name=self._fresh_node_name(f"{stem}_bias"))
        add = OnnxNode(proto, node.scope, [None, None], [result], (node.position[0], node.position[1] + 1))
        self._connect(add, 0, inner)
        self._connect(add, 1, vector)
        self._store(vector, bias)
        result.producer = add
        later = self.added_nodes.setdefault(node, [])
        for other in later:
            other.position = (other.position[0], other.position[1] + 1)
        later.insert(0, add)

    def _connect(self, node: OnnxNode, slot: int, value: OnnxValue) -> None:
        while len(node.inputs) <= slot:
            node.inputs.append(None)
            node.proto.input.append("")
        old = node.inputs[slot]
        node.inputs[slot] = value
        node.proto.input[slot] = value.name
        value.add_reader(node, slot)
        if old is not None:
            old.drop_reader(node, slot)
            self._drop_unread_constants([old])

    def _redirect(self, old: OnnxValue, new: OnnxValue) -> None:
        """Let everything that reads `old` read `new`."""
        for reader, slot in old.readers:
            reader.inputs[slot] = new
            reader.proto.input[slot] = new.name
            new.add_reader(reader, slot)
        old.drop_all_readers()

    def _remove_node(self, node: OnnxNode, keep: OnnxValue | None = None) -> None:
        """Remove a node, and the constants that it alone read; `keep` loses a reader, but stays."""
        self.removed_nodes.add(node)
        for slot, value in enumerate(node.inputs):
            if value is not None:
                value.drop_reader(node, slot)
                if value is not keep:
                    self._freeze(value)
        self._drop_unread_constants([value for value in node.inputs if value is not None and value is not keep])

    def _drop_unread_constants(self, values: list[OnnxValue]) -> None:
        waiting = list(values)
        while waiting:
            value = waiting.pop()
            if value.readers or value.is_output or value.scope.values.get(value.name) is not value:
                continue
            producer = value.producer
            if producer is not None and self.constants.is_fixed(value) and len(producer.outputs) == 1:
                self._forget(value)
                if producer in self.removed_nodes:
                    continue
                self.removed_nodes.add(producer)
                for slot, source in enumerate(producer.inputs):
                    if source is not None:
                        source.drop_reader(producer, slot)
                        waiting.append(source)
            elif producer is None and value.is_initializer:
                self._forget(value)

    def _forget(self, value: OnnxValue) -> None:
        del value.scope.values[value.name]
        self.removed_values.append(value)
        self.stored_anew.pop(value, None)

    def _fresh_name(self, wanted: str) -> str:
        return self.index.names.fresh(wanted)

    def _fresh_node_name(self, wanted: str) -> str:
        return self.index.node_names.fresh(wanted)


def _is_alone(value: OnnxValue, parameter: NewParameter) -> bool:
    """Whether one reader alone would notice the new parameter; queries of the shape do if it changes."""
    same_shape = value.shape == parameter.rounded.shape
    return len(value.value_readers if same_shape else value.readers) == 1


def _name_for_new_parameter(node: OnnxNode, old: OnnxValue | None) -> str:
    """A name that people recognise: the tensor's own with an ending, or the weight's with "weight" made "bias"."""
    if old is not None:
        return f"{old.name}_folded"
    weight = node.inputs[1]
    stem = weight.name if weight is not None else node.proto.name or node.proto.output[0]
    return stem[: -len("weight")] + "bias" if stem.endswith("weight") else f"{stem}_bias"
