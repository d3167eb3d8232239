"""AtenGraph as the engine sees it: the `GraphPort` of TorchScript and torch.export."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten import branches
from bnfold.frontends.aten.constants import AtenConstants
from bnfold.frontends.aten.decode import decode
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.editor import AtenEditor
from bnfold.frontends.aten.encode import encode
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.lowering import encode_lowered
from bnfold.frontends.aten.node import AtenNode, AtenValue, reads_values
from bnfold.frontends.aten.operators.attention import scales_scores
from bnfold.frontends.aten.removal import separations
from bnfold.frontends.common.left_alone import LeftAlone
from bnfold.frontends.common.scores import multiplied_scores
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Meaning, Opaque

_SIGNIFICANDS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


class AtenPort:
    """A graph that the engine can fold; the program itself changes only when the journal is lowered.

    Args:
        graph: the graph, after `settle_writes`.
        exclude: glob patterns of labels of nodes to leave alone.
        without: numbers of further nodes to leave alone, as `number` gives them.
    """

    def __init__(self, graph: AtenGraph, *, exclude: Sequence[str] = (), without: Collection[int] = ()) -> None:
        self._graph = graph
        self._constants = AtenConstants()
        self._editor = AtenEditor(graph, self._constants)
        self._left_alone = LeftAlone(graph.nodes, exclude, without)

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The patterns of `exclude` that match no node."""
        return self._left_alone.unmatched

    def nodes(self) -> Iterable[AtenNode]:
        """All nodes that are there now, in the order in which they run."""
        return self._graph.nodes

    def number(self, node: AtenNode) -> int:
        """Which node it was before any fold; -1 where a fold added it."""
        return self._left_alone.number(node)

    def decode(self, node: AtenNode) -> Meaning:
        """What the node means."""
        left_alone = self._left_alone.why(node)
        if left_alone is not None:
            return left_alone
        meaning = node.sealed or decode(node, self._constants)
        if isinstance(meaning, AffineMap) and scales_scores(node):
            return multiplied_scores(meaning)
        if isinstance(meaning, Opaque) and meaning.reason is Reason.UNKNOWN_SHAPE and not meaning.hint:
            return replace(meaning, hint=self._graph.asks_for_shapes)
        return meaning

    def why_it_stays(self, node: AtenNode) -> Refusal | None:
        """Of what ONNX spells out, programs of PyTorch have operators of their own for all but attention."""
        if scales_scores(node):
            return Refusal(Reason.SPELLED_OUT, "it is part of a spelled-out attention")
        return None

    def twin(self, _node: AtenNode, _meaning: AffineMap) -> AtenNode | None:
        """Tensors of PyTorch may be written to: two that are equal now are not one."""
        return None

    def merge(self, node: AtenNode, _source: int, twin: AtenNode) -> None:
        """There are no twins."""
        raise InternalError(f"{node.label!r} has no twin, and {twin.label!r} is none")

    def inputs(self, node: AtenNode) -> Sequence[AtenValue | None]:
        """The values that the node reads, in the order of its schema."""
        return node.inputs

    def outputs(self, node: AtenNode) -> Sequence[AtenValue | None]:
        """What the node makes."""
        return node.outputs

    def producer(self, value: AtenValue) -> AtenNode | Refusal:
        """The node that makes this tensor."""
        if value.producer is not None:
            return value.producer
        if value.edge:
            return Refusal(Reason.GRAPH_INPUT, f"{value.name!r} enters a body of {value.edge!r} from outside")
        if value.parameter is not None:
            return Refusal(Reason.CONSTANT, f"{value.name!r} is a parameter of the program")
        return Refusal(Reason.GRAPH_INPUT, f"{value.name!r} is an input of the program")

    def readers(self, value: AtenValue) -> Sequence[tuple[AtenNode, int]]:
        """Every use of the tensor's values by a node; a query of its shape is none."""
        return [(node, node.slots.index(slot)) for node, slot in value.readers if reads_values(node, slot)]

    def pinned(self, value: AtenValue) -> Refusal | None:
        """What the caller gets keeps its values, and so does what an operator changes in place for others to see."""
        if value.is_output and value.edge:
            return Refusal(Reason.GRAPH_OUTPUT, f"a body of {value.edge!r} gives {value.name!r} back")
        if value.is_output:
            return Refusal(
                Reason.GRAPH_OUTPUT,
                f"{value.name!r} is an output of the program",
                hint="if nobody needs that output, take it off" if self.readers(value) else "",
            )
        return self.rewritten(value)

    def rewritten(self, value: AtenValue) -> Refusal | None:
        """What an operator in place changes, its readers see as it is when they run."""
        if value.mutation:
            return Refusal(Reason.MUTATED, f"{value.mutation!r} changes {value.name!r} in place")
        return None

    def linear_input(self, node: AtenNode) -> int | None:
        """The one input in which the node may be linear."""
        return branches.linear_input(node, self._constants)

    def may_be_sum(self, node: AtenNode) -> bool:
        """Whether the node adds tensors."""
        return branches.may_be_sum(node, self._constants)

    def permutation(self, _node: AtenNode) -> tuple[int, ...] | None:
        """What PyTorch permutes shares memory with what it was."""
        return None

    def average(self, node: AtenNode, behind: Contraction | None) -> Contraction | None:
        """The kernel of an average pooling."""
        return branches.average_kernel(node, behind, self._constants)

    def is_seen_elsewhere(self, value: AtenValue) -> bool:
        """Whether somebody asks for its form alone, or reads it from another body."""
        return branches.is_seen_elsewhere(value)

    def why_not_bypassed(self, node: AtenNode, source: int) -> Refusal | None:
        """Memory that the node keeps apart."""
        separate = separations(node, source)
        return separate if isinstance(separate, Refusal) else None

    def encode_merged(self, node: AtenNode, before: Contraction, after: Contraction) -> AtenEdit | Refusal:
        """The edit that gives the node another kernel."""
        return branches.encode_merged(node, before, after, self._constants)

    def encode(self, node: AtenNode, meaning: Meaning) -> AtenEdit | Refusal:
        """The edit that gives the node this meaning."""
        return encode(node, meaning, self._constants)

    def encode_lowered(self, node: AtenNode, parts: Sequence[Meaning]) -> AtenEdit | Refusal:
        """The edit that puts other operators in the place of a batch normalisation."""
        return encode_lowered(node, parts)

    def apply(self, edit: AtenEdit) -> None:
        """Carry out an edit."""
        self._editor.apply(edit)

    def lower(self, edit: AtenEdit) -> Sequence[AtenNode]:
        """Carry out an edit; the node itself goes."""
        return self._editor.succeed(edit)

    def added_nodes(self, edit: AtenEdit) -> int:
        """An addition, where the node has no room for a bias."""
        return int(edit.bias_behind is not None)

    def significand(self, node: AtenNode) -> int:
        """Of the type of what the node makes."""
        made = node.outputs[0]
        return 0 if made is None or made.dtype is None else _SIGNIFICANDS.get(made.dtype, 0)

    def dead_channels(self, edit: AtenEdit) -> int:
        """Of all weights that the edit changes."""
        return sum(parameter.dead_channels for parameter in edit.parameters.values())

    def keeps_integers(self, edit: AtenEdit) -> bool:  # noqa: ARG002 - see `bnfold.port.GraphPort`
        """No program with weights of integers is folded."""
        return False

    def position(self, node: AtenNode) -> tuple[int, ...]:
        """Where the node stands in the program."""
        return node.position

    def rename(self, value: AtenValue) -> None:
        """Give a tensor with other values a fresh name."""
        self._graph.rename(value, self._graph.fresh_name(f"{value.name}_folded"))

    def bypass_upstream(self, node: AtenNode, source: int) -> None:
        """Remove a node; its input takes over its output's name."""
        output = node.outputs[0]
        replacement = self._editor.bypass(node, source)
        if output is not None:
            self._graph.rename(replacement, output.name)

    def bypass_downstream(self, node: AtenNode, source: int) -> None:
        """Remove a node; its readers read its input."""
        self._editor.bypass(node, source)

    def drop_operand(self, node: AtenNode, _slot: int) -> None:
        """There are no sums of three."""
        raise InternalError(f"{node.label!r} adds two tensors")

    def remove(self, node: AtenNode) -> None:
        """Remove a node that nobody reads; some are gone already, with what read them."""
        self._graph.remove(node)
