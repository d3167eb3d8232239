"""The indexed graph as a fold rewires it: nodes and tensors come and go, and get other names.

The protobuf's own lists of nodes and tensors change once, at the end, in writer.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx
import onnx.helper

from bnfold.errors import InternalError
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue, Scope, Shape


@dataclass(eq=False)
class Rewiring:
    """A graph, and what has become of it since it was read.

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
                self.freeze(constant)
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
        value.name = self.index.names.fresh(f"{old}_folded")
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

    def trim(self, node: OnnxNode, inputs: int) -> None:
        """Leave a node so many inputs, and one output."""
        gone = node.inputs[inputs:]
        for slot, value in enumerate(gone, start=inputs):
            if value is not None:
                value.drop_reader(node, slot)
                self.freeze(value)
        del node.inputs[inputs:], node.proto.input[inputs:]
        del node.outputs[1:], node.proto.output[1:]
        self._drop_unread_constants([value for value in gone if value is not None])

    def freeze(self, value: OnnxValue) -> None:
        """The fold has used these values for one reader: the caller can no longer replace them for the others."""
        waiting = [value]
        while waiting:
            source = waiting.pop()
            if source.initializer is not None and source.is_input:
                self.frozen[source] = None
            if source.producer is not None and self.constants.is_fixed(source):
                waiting += [entry for entry in source.producer.inputs if entry is not None]

    def detach(self, value: OnnxValue) -> None:
        """Turn a constant that a node makes into one that the graph stores under the same name."""
        if value.producer is None:
            return
        producer, value.producer = value.producer, None
        producer.outputs[producer.outputs.index(value)] = None
        self._remove_node(producer)

    def add_behind(self, node: OnnxNode) -> OnnxValue:
        """Put an Add behind a node; the Add makes the tensor that the node made. Returns what it adds, still empty."""
        result = node.outputs[0]
        if result is None:
            raise InternalError(f"{node.label!r} has no output")
        inner = self._new_value(f"{result.name}_before_bias", node.scope, producer=node, shape=result.shape)
        node.outputs[0] = inner
        node.proto.output[0] = inner.name
        vector = self.add_parameter(node)
        stem = node.proto.name or inner.name
        proto = onnx.helper.make_node("Add", ["", ""], [result.name], name=self.index.node_names.fresh(f"{stem}_bias"))
        add = OnnxNode(proto, node.scope, [None, None], [result], (node.position[0], node.position[1] + 1))
        self.connect(add, 0, inner)
        self.connect(add, 1, vector)
        result.producer = add
        later = self.added_nodes.setdefault(node, [])
        for other in later:
            other.position = (other.position[0], other.position[1] + 1)
        later.insert(0, add)
        return vector

    def add_parameter(self, node: OnnxNode, old: OnnxValue | None = None) -> OnnxValue:
        """A tensor for a new parameter of a node, still empty; where it replaces one, its name says so."""
        return self._new_value(_name_for_new_parameter(node, old), node.scope)

    def _new_value(
        self,
        wanted: str,
        scope: Scope,
        *,
        producer: OnnxNode | None = None,
        shape: Shape | None = None,
        element_type: int = onnx.TensorProto.UNDEFINED,
    ) -> OnnxValue:
        value = OnnxValue(self.index.names.fresh(wanted), scope, producer, shape=shape, element_type=element_type)
        scope.values[value.name] = value
        return value

    def copy_for(self, reader: OnnxNode, slot: int, node: OnnxNode, made: OnnxValue) -> OnnxNode:
        """The same node once more, for one input of one reader."""
        output = self._new_value(f"{made.name}_folded", node.scope, shape=made.shape, element_type=made.element_type)
        proto = onnx.NodeProto()
        proto.CopyFrom(node.proto)
        proto.name = self.index.node_names.fresh(f"{node.proto.name or made.name}_folded")
        proto.output[0] = output.name
        copy = OnnxNode(proto, node.scope, list(node.inputs), [output], (node.position[0], node.position[1] + 1))
        output.producer = copy
        for place, source in enumerate(copy.inputs):
            if source is not None:
                source.add_reader(copy, place)
        self.connect(reader, slot, output)
        self.added_nodes.setdefault(node, []).append(copy)
        return copy

    def connect(self, node: OnnxNode, slot: int, value: OnnxValue) -> None:
        """Let a node read a tensor at an input; a constant that it read there goes if nobody else reads it."""
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
                    self.freeze(value)
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


def _name_for_new_parameter(node: OnnxNode, old: OnnxValue | None) -> str:
    """A name that people recognise: the tensor's own with an ending, or the weight's with "weight" made "bias"."""
    if old is not None:
        return f"{old.name}_folded"
    weight = node.inputs[1] if node.has_input(1) else None
    stem = weight.name if weight is not None else node.proto.name or node.proto.output[0]
    return stem[: -len("weight")] + "bias" if stem.endswith("weight") else f"{stem}_bias"
