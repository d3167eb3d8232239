"""Edits of nodes, carried out: new parameters, operators and attributes."""

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from bnfold.errors import InternalError
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.attributes import set_float_attribute, set_int_attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue
from bnfold.frontends.onnx.requantize import Requantized
from bnfold.frontends.onnx.rewiring import Rewiring


class ModelEditor:
    """Carries out edits on a model.

    Args:
        graph: of the model.
        constants: of the model.
    """

    def __init__(self, graph: Rewiring, constants: OnnxConstants) -> None:
        self._graph = graph
        self._constants = constants

    def apply(self, edit: OnnxEdit) -> None:
        """Give a node new parameters."""
        node = edit.node
        # The bias first: exporters compute an absent one from the shape of the weight, and then nobody else reads that.
        for slot in sorted(edit.parameters, reverse=True):
            self._set_parameter(node, slot, edit.parameters[slot])
        for change in edit.requantized:
            self._requantize(node, change)
        for slot, (changed, parameter) in edit.copied.items():
            self._copy(node, slot, changed, parameter)
        if edit.keeps_inputs is not None:
            self._graph.trim(node, edit.keeps_inputs)
        if edit.bias_behind is not None:
            self._store(self._graph.add_behind(node), edit.bias_behind)
        if edit.op_type:
            node.proto.op_type = edit.op_type
        if edit.widens_output:
            self._reshape_output(node)
        for name, value in edit.float_attributes.items():
            self._set_numbers(node, name, value)
        for name, numbers in edit.attributes.items():
            set_int_attribute(node.proto, name, numbers)

    def _set_numbers(self, node: OnnxNode, name: str, value: float | NewParameter) -> None:
        """Another value for an attribute of one float, or of a list of them."""
        if isinstance(value, NewParameter):
            self._constants.remember_numbers(node, name, value)
            set_float_attribute(node.proto, name, [float(number) for number in value.rounded.reshape(-1)])
        else:
            set_float_attribute(node.proto, name, value)

    def _set_parameter(self, node: OnnxNode, slot: int, parameter: NewParameter) -> None:
        """New values for a constant input: in its own place where nobody else reads it, else under a new name."""
        old = node.inputs[slot] if slot < len(node.inputs) else None
        if old is not None and not old.is_output and _is_alone(old, parameter):
            if not self._refill(old, parameter):
                self._graph.detach(old)
            elif old not in self._graph.renamed:
                self._graph.rename(old)
            self._store(old, parameter)
            return
        if old is not None:
            self._graph.freeze(old)
        value = self._graph.add_parameter(node, old)
        self._graph.connect(node, slot, value)
        self._store(value, parameter)

    def _copy(self, reader: OnnxNode, slot: int, changed: int, parameter: NewParameter) -> None:
        """Let an input be made by a node of its own, like the one that makes it, with another constant."""
        made = reader.inputs[slot]
        if made is None or made.producer is None:
            raise InternalError(f"nothing makes input {slot} of {reader.label!r} that could be copied")
        copy = self._graph.copy_for(reader, slot, made.producer, made)
        self._set_parameter(copy, changed, parameter)
        self._reshape_output(copy)

    def _requantize(self, reader: OnnxNode, change: Requantized) -> None:
        """Give a DequantizeLinear other inputs; one whose output somebody else sees keeps its own, and gets a copy.

        So do the nodes between it and its reader.
        """
        slot_of_reader = change.slot
        for node in (*change.through, change.node):
            made = node.outputs[0]
            if made is not None and (made.is_output or len(made.value_readers) > 1):
                node = self._graph.copy_for(reader, slot_of_reader, node, made)
            elif made is not None:
                self._graph.rename(made)
            reader, slot_of_reader = node, 0
        node = reader
        for slot, parameter in change.parameters.items():
            self._set_parameter(node, slot, parameter)
        if change.axis is not None:
            set_int_attribute(node.proto, "axis", change.axis)

    def _reshape_output(self, node: OnnxNode) -> None:
        output, tell = node.outputs[0], node.traits.tell_output_shape
        if output is not None:
            output.shape = None if tell is None else tell(node)
            self._graph.reshaped.add(output)

    def _refill(self, value: OnnxValue, parameter: NewParameter) -> bool:
        """Keep a ConstantOfShape where one number still says it all: light models stay light."""
        producer = value.producer
        if producer is None or producer.proto.op_type != "ConstantOfShape" or value.shape != parameter.stored.shape:
            return False
        numbers = parameter.rounded
        if numbers.size < 2 or np.any(numbers != numbers.reshape(-1)[0]):
            return False
        fill = onnx.numpy_helper.from_array(numbers.reshape(-1)[:1], "value")
        del producer.proto.attribute[:]
        producer.proto.attribute.append(onnx.helper.make_attribute("value", fill))
        return True

    def _store(self, value: OnnxValue, parameter: NewParameter) -> None:
        value.shape = parameter.stored.shape
        self._constants.remember(value, parameter)
        if value.producer is None:
            self._graph.stored_anew[value] = None


def _is_alone(value: OnnxValue, parameter: NewParameter) -> bool:
    """Whether one reader alone would notice the new parameter; queries of the shape do if it changes."""
    same_shape = value.shape == parameter.stored.shape
    return len(value.value_readers if same_shape else value.readers) == 1
