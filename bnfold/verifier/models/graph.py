"""The graph of a model as the verifier sees it: who makes and reads a tensor, and which tensors are parameters."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.intake.tensors import is_external
from bnfold.intake.walk import bodies
from bnfold.verifier.models.held import Held
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto

Array = npt.NDArray[Any]

RANDOM = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())  # noqa: SIM905
"""Operators that give other values in each run."""

_TRAINING_MODE = 2
_AT_A_TIME = 2**20
"""Numbers that are compared at a time."""
_SPELLED = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


class Structure:
    """The main graph of a model.

    Args:
        model: the model.
        held: what tensors hold, if other values than those of the same names in the original. None of one of which
            that has to be found out.

    Attributes:
        model, held: the same; tensors that hold what the original does are taken out once that is known.
        nodes: in the order of the file.
        inputs: names of what the caller feeds.
        producers: index of the node that makes a tensor, by its name.
        constants: names of tensors that do not depend on the inputs, parameters among them.
    """

    def __init__(self, model: Model, held: Mapping[str, Held | None] | None = None) -> None:
        graph = model.proto.graph
        self.model, self.held = model, dict(held or {})
        self.nodes: list[NodeProto] = list(graph.node)
        self._stored: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        self.inputs = {entry.name for entry in graph.input} - self._stored.keys() - self._sparse
        self.producers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self._stored |= _constant_nodes(self.nodes)
        self._arrays: dict[str, Array] = {}
        self.constants = self._find_constants()

    @cached_property
    def functions(self) -> "dict[tuple[str, str], FunctionProto]":
        """The model-local functions, by domain and name."""
        return {(function.domain, function.name): function for function in self.model.proto.functions}

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operators that the model imports."""
        opsets = self.model.proto.opset_import
        return next((entry.version for entry in opsets if entry.domain in ("", "ai.onnx")), 1)

    def function(self, node: "NodeProto") -> "FunctionProto | None":
        """The function of the model that a node calls; None where it calls none."""
        return self.functions.get((node.domain, node.op_type))

    def reads(self, index: int) -> list[str]:
        """The tensors that a node reads, captures by its bodies among them."""
        return names_read(self.nodes[index])

    def neighbours(self, tensor: str) -> list[str]:
        """The tensors that are read beside one or made of it, and that it is made of."""
        maker = self.producers.get(tensor)
        indices = [*self.readers(tensor), *([] if maker is None else [maker])]
        return [name for index in indices for name in (*self.reads(index), *self.nodes[index].output) if name]

    def readers(self, tensor: str) -> list[int]:
        """The indices of the nodes that read it."""
        return self._readers.get(tensor, [])

    @cached_property
    def _readers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index in range(len(self.nodes)):
            for name in dict.fromkeys(self.reads(index)):
                found.setdefault(name, []).append(index)
        return found

    def holds_others(self, names: Iterable[str]) -> bool:
        """Whether some of these tensors hold other values than in the original, or may do so."""
        return bool(self.held) and not self.held.keys().isdisjoint(names)

    def parameter(self, name: str) -> "TensorProto | None":
        """The stored tensor: an initializer, or the value of a Constant node."""
        return self._stored.get(name)

    def array(self, name: str) -> Array:
        """The values of a parameter.

        Raises:
            RefusedError: its external data is missing or too short.
        """
        if name in self.model.weights:
            return self.model.weights[name]
        if name not in self._arrays:
            self._arrays[name] = self.array_of(self._stored[name])
        return self._arrays[name]

    def array_of(self, tensor: "TensorProto") -> Array:
        """The values of a tensor, wherever in the model it stands.

        Raises:
            RefusedError: as `array`.
        """
        from onnx import numpy_helper

        return self.model.files.values(tensor) if is_external(tensor) else numpy_helper.to_array(tensor)

    def label(self, index: int) -> str:
        """How messages call a node: its name, or its first output where it has none."""
        node = self.nodes[index]
        return node.name or next(filter(None, node.output), node.op_type)

    def is_random(self, index: int) -> bool:
        """Whether a node gives other values in each run."""
        node = self.nodes[index]
        return node.op_type in RANDOM or (node.op_type == "Dropout" and self._drops(node))

    def _drops(self, node: "NodeProto") -> bool:
        """Whether a Dropout may be in training mode. Below version 12 it has none (ONNX Dropout-7 to -22)."""
        if not is_standard(node) or len(node.input) <= _TRAINING_MODE or not node.input[_TRAINING_MODE]:
            return False
        ratio, training = node.input[_TRAINING_MODE - 1], node.input[_TRAINING_MODE]
        return self._may_be_other_than_zero(ratio) and self._may_be_other_than_zero(training)

    def _may_be_other_than_zero(self, name: str) -> bool:
        return name not in self._stored or bool(np.any(self.array(name)))

    def _find_constants(self) -> set[str]:
        constants = self._stored.keys() | self._sparse
        for index, node in enumerate(self.nodes):
            if not self.is_random(index) and all(name in constants for name in self.reads(index)):
                constants |= set(filter(None, node.output))
        return constants


def names_read(node: "NodeProto") -> list[str]:
    """The tensors that a node reads, captures by its bodies among them."""
    return [*filter(None, node.input), *captures(node)]


def captures(node: "NodeProto") -> Iterator[str]:
    """The tensors of the graph around it that a node's bodies read."""
    for body in bodies(node):
        own = {entry.name for entry in body.input} | {tensor.name for tensor in body.initializer}
        own |= {name for inner in body.node for name in inner.output}
        for inner in body.node:
            yield from (name for name in (*inner.input, *captures(inner)) if name and name not in own)
        yield from (entry.name for entry in body.output if entry.name not in own)


def is_standard(node: "NodeProto") -> bool:
    """Whether ONNX itself says what a node means."""
    return node.domain in ("", "ai.onnx")


def _constant_nodes(nodes: "list[NodeProto]") -> "dict[str, TensorProto]":
    """The tensors of Constant nodes, by the name of their output, however they spell them; no texts (Constant-12)."""
    return {
        node.output[0]: tensor
        for node in nodes
        if node.op_type == "Constant" and is_standard(node)
        for attribute in node.attribute
        if (tensor := _spelled_tensor(attribute)) is not None
    }


def _spelled_tensor(attribute: "AttributeProto") -> "TensorProto | None":
    from onnx import helper, numpy_helper

    if attribute.name == "value":  # under which torch's exporter writes texts as well
        return attribute.t if attribute.HasField("t") else None
    dtype = _SPELLED.get(attribute.name)
    return dtype and numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute), dtype))


def same_parameter(a: Structure, b: Structure, name: str, other: str) -> bool:
    """Whether two parameters have the same type, shape and values, bit for bit."""
    left, right = a.parameter(name), b.parameter(other)
    if left is None or right is None or left.data_type != right.data_type or list(left.dims) != list(right.dims):
        return False
    if left.HasField("raw_data") and right.HasField("raw_data"):  # of whatever type
        return bool(left.raw_data == right.raw_data)
    return same_bits(a.array(name), b.array(other))


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays have the same type, shape and values, bit for bit: a NaN is equal to itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "OU":
        return bool(np.array_equal(a, b))
    left, right = a.reshape(-1), b.reshape(-1)
    # What differs mostly does so at once; and weights are large.
    starts = [0, *range(64, left.size, _AT_A_TIME)]
    return all(
        bool(np.array_equal(left[begin:end].view(np.uint8), right[begin:end].view(np.uint8)))
        for begin, end in zip(starts, [*starts[1:], left.size], strict=True)
    )
