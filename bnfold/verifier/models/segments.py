"""A long graph, cut into segments of consecutive nodes that can be run one behind the other."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from bnfold.verifier.models.graph import is_standard, names_read
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import NodeProto, SparseTensorProto, TensorProto, ValueInfoProto

_FEWEST, _MOST = 2**11, 2**12
"""Nodes of one segment. Where fewest tensors go on between these, the graph is cut."""
_WORTH_IT = 2**13
"""Nodes of a graph."""


@dataclass(frozen=True)
class Segment:
    """Consecutive nodes.

    Attributes:
        nodes: the nodes.
        stored: names of the initializers and Constants that they read.
        reads: names of the tensors that they read beside these, and do not make.
        makes: names of the tensors that they make and that are to be seen, or go on.
        goes_on: those that later nodes read.
    """

    nodes: "Sequence[NodeProto]"
    stored: Sequence[str]
    reads: Sequence[str]
    makes: Sequence[str]
    goes_on: frozenset[str]


def can_be_cut(model: Model) -> bool:
    """Whether a model is so long that it is worth it, and what it stores belongs to its graph alone."""
    graph = model.proto.graph
    if len(graph.node) < _WORTH_IT or model.proto.functions:
        return False
    stored = {tensor.name for tensor in graph.initializer} | {entry.values.name for entry in graph.sparse_initializer}
    made = {name for node in graph.node if not _is_constant(node) for name in node.output}
    inputs, outputs = ([entry.name for entry in entries] for entries in (graph.input, graph.output))
    return stored.isdisjoint(inputs) and made.issuperset(outputs)


class Segments:
    """The segments of the main graph of a model.

    Args:
        model: the model, for which `can_be_cut` says so.
        exposed: names of tensors to be seen beside the outputs.

    Attributes:
        model, exposed: the same.
    """

    def __init__(self, model: Model, exposed: Sequence[str] = ()) -> None:
        self.model, self.exposed = model, exposed
        graph = model.proto.graph
        self._seen = {*exposed, *(entry.name for entry in graph.output)}
        self._dense: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._sparse: dict[str, SparseTensorProto] = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
        self._constants = {node.output[0]: node for node in graph.node if _is_constant(node)}
        self._nodes = [node for node in graph.node if not _is_constant(node)]
        self._reads = [names_read(node) for node in self._nodes]

    def __len__(self) -> int:
        """How many there are at the most."""
        return 1 + len(self._cuts)

    def __iter__(self) -> Iterator[Segment]:
        """All segments that make something, in order."""
        begin = 0
        for end in [*self._cuts, len(self._nodes)]:
            segment = self._segment(begin, end)
            if segment.makes:
                yield segment
            begin = end

    def model_of(
        self, segment: Segment, inputs: "Collection[ValueInfoProto]", outputs: "Collection[ValueInfoProto]"
    ) -> Model:
        """A segment as a model.

        Args:
            segment: which.
            inputs: declares what it reads.
            outputs: declares what it makes, or some of it.
        """
        from onnx import ModelProto

        source = self.model.proto
        proto = ModelProto(ir_version=source.ir_version, opset_import=source.opset_import)
        graph = proto.graph
        graph.name = source.graph.name
        graph.input.extend(inputs)
        graph.output.extend(outputs)
        graph.node.extend(self._constants[name] for name in segment.stored if name in self._constants)
        graph.node.extend(segment.nodes)
        graph.initializer.extend(self._dense[name] for name in segment.stored if name in self._dense)
        graph.sparse_initializer.extend(self._sparse[name] for name in segment.stored if name in self._sparse)
        beside = self.model.beside
        return self.model.derived(proto, {name: beside[name] for name in segment.stored if name in beside})

    def _is_stored(self, name: str) -> bool:
        return name in self._dense or name in self._sparse or name in self._constants

    def _segment(self, begin: int, end: int) -> Segment:
        nodes = self._nodes[begin:end]
        made = dict.fromkeys(name for node in nodes for name in node.output if name)
        read = dict.fromkeys(name for names in self._reads[begin:end] for name in names)
        outside = [name for name in read if name not in made]
        goes_on = {name for name in made if self._last_reader.get(name, -1) >= end}
        return Segment(
            nodes,
            [name for name in outside if self._is_stored(name)],
            [name for name in outside if not self._is_stored(name)],
            [name for name in made if name in goes_on or name in self._seen],
            frozenset(goes_on),
        )

    @cached_property
    def _last_reader(self) -> Mapping[str, int]:
        return {name: index for index, names in enumerate(self._reads) for name in names}

    @cached_property
    def _cuts(self) -> list[int]:
        """Where segments begin, but for the first one: where as few tensors as possible go on."""
        alive = self._alive()
        found = [0]
        while len(self._nodes) - found[-1] > _MOST:
            last = found[-1]
            found.append(min(range(last + _FEWEST, last + _MOST + 1), key=lambda at: (alive[at], -at)))
        return found[1:]

    def _alive(self) -> list[int]:
        """How many of the tensors that are made before each node are read there or later."""
        changes = [0] * (len(self._nodes) + 1)
        for index, node in enumerate(self._nodes):
            for name in node.output:
                if self._last_reader.get(name, -1) > index:
                    changes[index + 1] += 1
                    changes[self._last_reader[name] + 1] -= 1
        return list(accumulate(changes))


def _is_constant(node: "NodeProto") -> bool:
    return node.op_type == "Constant" and is_standard(node)
