"""An ONNX model as the engine sees it: the `GraphPort` of ONNX."""

from collections.abc import Collection, Iterable, Sequence

import onnx

from bnfold.frontends.common.left_alone import LeftAlone
from bnfold.frontends.common.precision import significand
from bnfold.frontends.onnx import branches
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.decode import decode
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.editor import ModelEditor
from bnfold.frontends.onnx.encode import encode
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue
from bnfold.frontends.onnx.indexing import index_model
from bnfold.frontends.onnx.lowering import encode_lowered
from bnfold.frontends.onnx.ranks import complete_shapes
from bnfold.frontends.onnx.rewiring import Rewiring
from bnfold.frontends.onnx.shapes import infer_shapes
from bnfold.frontends.onnx.spellings import find_spellings
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.frontends.onnx.writer import write
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Meaning


class OnnxPort:
    """A ModelProto that the engine can fold; the protobuf itself changes only in `finish`.

    Args:
        model: the model.
        store: where its tensors lie.
        exclude: glob patterns of labels of nodes to leave alone.
        without: numbers of further nodes to leave alone, as `number` gives them.
        keep_overridable: leave initializers alone that are also graph inputs.

    Raises:
        ModelFormatError: the graph contradicts itself.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        store: TensorStore,
        *,
        exclude: Sequence[str] = (),
        without: Collection[int] = (),
        keep_overridable: bool = False,
    ) -> None:
        self._store = store
        self._index: GraphIndex = index_model(model)
        self._constants = OnnxConstants(store, keep_overridable=keep_overridable)
        self._rewiring = Rewiring(self._index, self._constants)
        self._editor = ModelEditor(self._rewiring, self._constants)
        self._left_alone = LeftAlone(self.nodes(), exclude, without)
        infer_shapes(self._index)
        complete_shapes(self._index, self._constants)
        self._spelled = find_spellings(self._index, self._constants)

    def finish(self) -> list[onnx.TensorProto]:
        """Write all changes into the model; see `writer.write`."""
        return write(self._rewiring, self._store.weights)

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The patterns of `exclude` that match no node."""
        return self._left_alone.unmatched

    def nodes(self) -> Iterable[OnnxNode]:
        """All nodes that are there now, scope by scope, in the order of the file."""
        return self._rewiring.nodes()

    def number(self, node: OnnxNode) -> int:
        """Which node it was before any fold; -1 where a fold added it."""
        return self._left_alone.number(node)

    def decode(self, node: OnnxNode) -> Meaning:
        """What the node means."""
        left_alone = self._left_alone.why(node)
        if left_alone is not None:
            return left_alone
        if node in self._spelled.fixed:
            return self._spelled.meaning_of(node, decode(node, self._constants))
        return decode(node, self._constants)

    def why_it_stays(self, node: OnnxNode) -> Refusal | None:
        """Constants of operators that runtimes put together again stay where they are."""
        return self._spelled.why_it_stays(node)

    def twin(self, node: OnnxNode, meaning: AffineMap) -> OnnxNode | None:
        """A node of the same graph, before this one, that makes the same of the same tensor."""
        source, output = node.inputs[meaning.source], node.outputs[0]
        if source is None or output is None or self.pinned(output) is not None:
            return None
        return next((other for other, slot in source.readers if self._is_twin(other, slot, node, meaning)), None)

    def _is_twin(self, other: OnnxNode, slot: int, node: OnnxNode, meaning: AffineMap) -> bool:
        if other.scope is not node.scope or other.position >= node.position or not other.may_be_affine:
            return False
        found = self.decode(other)
        if not isinstance(found, AffineMap) or found.source != slot:
            return False
        return found.affine.rank == meaning.affine.rank and found.affine.equals(meaning.affine)

    def merge(self, node: OnnxNode, source: int, twin: OnnxNode) -> None:
        """Remove a node; its readers read the output of its twin."""
        self._rewiring.merge(node, source, twin)

    def inputs(self, node: OnnxNode) -> Sequence[OnnxValue | None]:
        """The node's inputs."""
        return node.inputs

    def outputs(self, node: OnnxNode) -> Sequence[OnnxValue | None]:
        """The node's outputs."""
        return node.outputs

    def producer(self, value: OnnxValue) -> OnnxNode | Refusal:
        """The node that makes this tensor."""
        if self._constants.holds(value):
            return Refusal(Reason.CONSTANT, f"{value.name!r} is a constant")
        return value.producer or Refusal(Reason.GRAPH_INPUT, f"{value.name!r} is an input of {value.scope.label}")

    def readers(self, value: OnnxValue) -> Sequence[tuple[OnnxNode, int]]:
        """Every use of the tensor's values by a node; a query of its shape is none."""
        return value.value_readers

    def pinned(self, value: OnnxValue) -> Refusal | None:
        """Graph outputs and captures keep their values."""
        if value.is_output:
            return Refusal(
                Reason.GRAPH_OUTPUT,
                f"{value.name!r} is an output of {value.scope.label}",
                hint="if nobody needs that output, take it off" if value.value_readers else "",
            )
        for node, _ in value.captures:
            return Refusal(Reason.CAPTURED, f"{value.name!r} is read by {node.label!r} in {node.scope.label}")
        return None

    def rewritten(self, _value: OnnxValue) -> Refusal | None:
        """Nothing in ONNX writes to a tensor."""
        return None

    def linear_input(self, node: OnnxNode) -> int | None:
        """The one input in which the node may be linear."""
        return branches.linear_input(node, self._constants)

    def may_be_sum(self, node: OnnxNode) -> bool:
        """Whether the node adds tensors."""
        return branches.may_be_sum(node, self._constants)

    def permutation(self, node: OnnxNode) -> tuple[int, ...] | None:
        """That of a Transpose."""
        return branches.permutation(node, self._constants)

    def average(self, node: OnnxNode, _behind: Contraction | None) -> Contraction | None:
        """The kernel of an AveragePool."""
        return branches.average_kernel(node)

    def is_seen_elsewhere(self, value: OnnxValue) -> bool:
        """Whether a Shape, or what else ignores the values, reads the tensor."""
        return len(value.value_readers) < len(value.readers)

    def why_not_bypassed(self, _node: OnnxNode, _source: int) -> Refusal | None:
        """Tensors of ONNX have no memory that anybody could write to."""
        return None

    def encode_merged(self, node: OnnxNode, before: Contraction, after: Contraction) -> OnnxEdit | Refusal:
        """The edit that gives the node another kernel."""
        return branches.encode_merged(node, before, after, self._constants)

    def encode(self, node: OnnxNode, meaning: Meaning) -> OnnxEdit | Refusal:
        """The edit that gives the node this meaning."""
        return encode(node, meaning, self._constants)

    def encode_lowered(self, node: OnnxNode, parts: Sequence[Meaning]) -> OnnxEdit | Refusal:
        """The edit that makes a BatchNormalization other operators."""
        return encode_lowered(node, parts, self._constants)

    def apply(self, edit: OnnxEdit) -> None:
        """Carry out an edit."""
        self._editor.apply(edit)

    def lower(self, edit: OnnxEdit) -> Sequence[OnnxNode]:
        """Carry out an edit; the node itself stays, as another operator, and one may stand behind it."""
        self._editor.apply(edit)
        return (edit.node, *self._rewiring.added_nodes.get(edit.node, ()))

    def added_nodes(self, edit: OnnxEdit) -> int:
        """An Add, where the node has no room for a bias; copies of nodes that others read and that cost something."""
        return edit.added_nodes

    def significand(self, node: OnnxNode) -> int:
        """Of the type of the node's constants: the operator asks for the same type as that of what it reads."""
        for value in node.inputs:
            if value is not None and self._constants.is_fixed(value):
                return significand(self._constants.require(value).dtype)
        return 0

    def dead_channels(self, edit: OnnxEdit) -> int:
        """Of all weights that the edit changes."""
        return sum(parameter.dead_channels for parameter in edit.parameters.values())

    def keeps_integers(self, edit: OnnxEdit) -> bool:
        """Those behind a DequantizeLinear."""
        return bool(edit.requantized)

    def position(self, node: OnnxNode) -> tuple[int, ...]:
        """Where the node stands in its graph."""
        return node.position

    def rename(self, value: OnnxValue) -> None:
        """Give a tensor with other values a fresh name."""
        self._rewiring.rename(value)

    def bypass_upstream(self, node: OnnxNode, source: int) -> None:
        """Remove a node; its input's producer takes over its output's name."""
        self._rewiring.bypass_upstream(node, source)

    def bypass_downstream(self, node: OnnxNode, source: int) -> None:
        """Remove a node; its readers read its input."""
        self._rewiring.bypass_downstream(node, source)

    def drop_operand(self, node: OnnxNode, slot: int) -> None:
        """Let a Sum add one tensor less."""
        self._rewiring.drop_operand(node, slot)

    def remove(self, node: OnnxNode) -> None:
        """Remove a node that nobody reads."""
        self._rewiring.remove(node)
