"""Some nodes of a graph, computed in float64 on values of whatever shapes one likes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bnfold.intake.walk import bodies
from bnfold.verifier.local.float64 import (
    amended,
    contractions,
    contrib,
    integer_products,
    machine_learning,
    pooling,
    quantization,
    sequences,
)
from bnfold.verifier.local.float64.operator import OF_MICROSOFT, OPERATORS, Array, Call, NotComputedError
from bnfold.verifier.local.float64.reference import ReferenceNode, holds_a_value
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.models.graph import Structure, is_standard

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

__all__ = ["Float64Subgraph"]

_ = (amended, contractions, contrib, integer_products, pooling, sequences)  # each enters its operators into the table
_MICROSOFT = "com.microsoft"
# Of both domains, with the same meaning.
OF_MICROSOFT |= {op_type: OPERATORS[op_type] for op_type in ("QuantizeLinear", "DequantizeLinear")}


Role: TypeAlias = tuple[str, str, int]
"""Domain and type of an operator, and the place of one of its inputs."""


class Float64Subgraph:
    """Nodes between tensors.

    Args:
        graph: that they are in.
        nodes: their indices, in order.
        output: the tensor that they make.

    Attributes:
        graph, nodes, output: the same.
        stored: every tensor of numbers that the nodes read and the model stores, by name, in its own type; tensors in
            bodies and in functions that are called are among them, under names of their own, and the one number of a
            ConstantOfShape, under the name of what it makes.
        made: by the last run.
    """

    def __init__(self, graph: Structure, nodes: Sequence[int], output: str) -> None:
        self.graph, self.output = graph, output
        self.nodes = [index for index in nodes if graph.parameter(graph.nodes[index].output[0]) is None]
        self.made = np.empty(0)
        self._calls: dict[int, tuple[Call, Callable[..., Any] | None]] = {}
        self._by_reference: dict[int, ReferenceNode] = {}

    @cached_property
    def stored(self) -> dict[str, Array]:
        """The values."""
        names = dict.fromkeys(name for index in self.nodes for name in self.graph.reads(index))
        names.setdefault(self.output)
        own = {name: self.graph.array(name) for name in names if self.graph.parameter(name) is not None}
        inner = (self._inner(self.graph.nodes[index]) for index in self.nodes)
        held = {
            machine_learning.key_of(node, name): values
            for node in (self.graph.nodes[index] for index in self.nodes)
            for name, values in machine_learning.held_in_attributes(node).items()
        }
        return own | held | {name: values for entries in inner for name, values in entries}

    def _inner(self, node: "NodeProto") -> Iterator[tuple[str, Array]]:
        """Tensors in a node, in its bodies, and in the function that it calls."""
        if holds_a_value(node):
            tensors = [entry.t for entry in node.attribute if entry.name == "value"]
            yield from ((node.output[0], self.graph.array_of(tensor)) for tensor in tensors)
        function = self.graph.function(node)
        for graph in bodies(node):
            yield from ((tensor.name, self.graph.array_of(tensor)) for tensor in graph.initializer)
        for nodes in (*(graph.node for graph in bodies(node)), *([function.node] if function else [])):
            for inner in nodes:
                yield from self._inner(inner)

    def roles(self, name: str) -> frozenset[Role]:
        """As what the nodes themselves read a stored tensor; nothing of one in a body or a function."""
        return frozenset(self._roles.get(name, ()))

    @cached_property
    def _roles(self) -> dict[str, set[Role]]:
        """Those of every tensor that is read: thousands of branches that meet in a Sum have as many stored ones."""
        found: dict[str, set[Role]] = {}
        for node in (self.graph.nodes[index] for index in self.nodes):
            for place, read in enumerate(node.input):
                found.setdefault(read, set()).add((str(node.domain), str(node.op_type), place))
        return found

    @property
    def operators(self) -> set[str]:
        """What works on values that depend on the inputs."""
        nodes = (self.graph.nodes[index] for index in self.nodes)
        return {str(node.op_type) for node in nodes if node.output[0] not in self.graph.constants}

    @property
    def has_quantizers(self) -> bool:
        """Whether values that depend on the inputs are rounded to integers."""
        return any(self._is_quantizer(index) for index in self.nodes)

    def _is_quantizer(self, index: int) -> bool:
        node = self.graph.nodes[index]
        varies = node.output[0] not in self.graph.constants
        return node.op_type == "QuantizeLinear" and node.domain in ("", "ai.onnx", _MICROSOFT) and varies

    def run(self, given: Mapping[str, Array], stored: Mapping[str, Array], *, rounds: bool = True) -> Array:
        """What the nodes make.

        Args:
            given: the tensors that they begin with, and such as are not to be made here; floating-point numbers as
                float64.
            stored: values in the place of `stored`, likewise.
            rounds: whether quantizers round. Without, they scale, shift and clip only, and are smooth.

        Raises:
            NotComputedError: an operator cannot be computed.
        """
        values = dict(given)
        with np.errstate(all="ignore"):
            for index in self.nodes:
                node = self.graph.nodes[index]
                if all(name in given for name in node.output if name):
                    continue
                inputs = [self._value(name, values, stored) for name in node.input]
                made = self._compute(index, inputs, values, stored, rounds=rounds)
                values |= {name: array for name, array in zip(node.output, made, strict=False) if name}
        self.made = values[self.output] if self.output in values else stored[self.output]
        if sequences.is_sequence(self.made):
            raise NotComputedError(f"{self.output!r} is a sequence, which is compared on the samples")
        return self.made

    @staticmethod
    def _value(name: str, values: Mapping[str, Array], stored: Mapping[str, Array]) -> Array | None:
        if not name:
            return None
        found = values.get(name)
        found = stored.get(name) if found is None else found
        if found is None:
            raise NotComputedError(f"{name!r} is not known")
        return found

    def _compute(
        self,
        index: int,
        inputs: Sequence[Array | None],
        values: Mapping[str, Array],
        stored: Mapping[str, Array],
        *,
        rounds: bool,
    ) -> Sequence[Array]:
        node = self.graph.nodes[index]
        call, compute = self._call(index)
        if not rounds and self._is_quantizer(index):
            compute = quantization.without_rounding
        if machine_learning.held_in_attributes(node):  # of which onnx's implementation knows no rounding
            return machine_learning.computed(node, call, inputs, stored)
        if compute is not None:
            try:
                made = compute(call, *inputs)
                return [made] if isinstance(made, np.ndarray) else list(made)
            except NotComputedError:
                pass
            except (ValueError, IndexError, TypeError, AttributeError, KeyError) as error:
                raise NotComputedError(f"{node.op_type}: {error}") from error
        if index not in self._by_reference:
            self._by_reference[index] = ReferenceNode(self.graph, node)
        return self._by_reference[index].run(inputs, values, stored)

    def _call(self, index: int) -> tuple[Call, Callable[..., Any] | None]:
        """The call, and what computes it; None where nothing here does."""
        if index not in self._calls:
            node = self.graph.nodes[index]
            table = OPERATORS if is_standard(node) else OF_MICROSOFT if node.domain == _MICROSOFT else {}
            call = Call(
                node.op_type,
                self.graph.opset,
                sum(1 for name in node.output if name),
                {entry.name: _read(entry) for entry in node.attribute},
            )
            self._calls[index] = call, table.get(node.op_type)
        return self._calls[index]


def _read(attribute: "AttributeProto") -> Any:  # noqa: ANN401 - whatever an attribute may hold
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(attribute)
    return wide(numpy_helper.to_array(value)) if attribute.HasField("t") else value
