"""What the engine needs of a graph, whatever file it came from."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from bnfold.errors import InternalError
from bnfold.refusal import Refusal
from bnfold.semantics import AffineMap, Contraction, Meaning


class Value(Protocol):
    """A tensor of the graph."""

    @property
    def name(self) -> str:
        """Its name in the file."""


class Node(Protocol):
    """An operator of the graph."""

    @property
    def label(self) -> str:
        """What people call it, as the file did before any fold; it never changes."""

    @property
    def op(self) -> str:
        """Its operator type as the file spells it."""

    @property
    def may_be_affine(self) -> bool:
        """Whether it is of an operator that can be an affine map, judged without its parameters."""

    @property
    def is_batch_norm(self) -> bool:
        """Whether it is a batch normalisation, foldable or not."""


N = TypeVar("N", bound=Node)
V = TypeVar("V", bound=Value)
E = TypeVar("E")


class GraphPort(Protocol[N, V, E]):
    """A graph that can be read as meanings and rewritten. N: its nodes, V: its tensors, E: its edits.

    Everything down to `encode` only looks. The engine calls the rest only when a whole plan holds.
    """

    def nodes(self) -> Iterable[N]:
        """All nodes that are there now, those of bodies and functions included, producers before their readers."""

    def number(self, node: N) -> int:
        """The place of the node among all nodes before any fold, from 0: the same however often the model is read."""

    def decode(self, node: N) -> Meaning:
        """What the node means."""

    def why_it_stays(self, node: N, /) -> Refusal | None:
        """Why an affine node is to stay, whether or not it could be folded; None where nothing speaks for it."""

    def twin(self, node: N, meaning: AffineMap, /) -> N | None:
        """Another affine node that makes the same of the same tensor, before this one, which can go then."""

    def merge(self, node: N, source: int, twin: N, /) -> None:
        """Remove a node: what reads its output now reads that of its twin."""

    def inputs(self, node: N) -> Sequence[V | None]:
        """The node's inputs; None where an optional one is absent."""

    def outputs(self, node: N) -> Sequence[V | None]:
        """The node's outputs; None where an optional one is absent."""

    def producer(self, value: V) -> N | Refusal:
        """The node of the same graph that makes this tensor, or why there is none."""

    def readers(self, value: V) -> Sequence[tuple[N, int]]:
        """The nodes that read this tensor's values, each with the input index, once per use."""

    def pinned(self, value: V) -> Refusal | None:
        """Why the tensor must keep its values for somebody who is no node of this graph, or None."""

    def rewritten(self, value: V) -> Refusal | None:
        """Why one reader of the tensor may find other values there than another; None where all find the same."""

    def linear_input(self, node: N) -> int | None:
        """The one input in which the node may be linear, its others being constants; judged without any values."""

    def may_be_sum(self, node: N) -> bool:
        """Whether the node is of an operator that adds tensors, and none of them is a constant; likewise."""

    def permutation(self, node: N) -> tuple[int, ...] | None:
        """How a node orders the axes of its first input, if that is all that it does and merging may look past it."""

    def average(self, node: N, behind: Contraction | None, /) -> Contraction | None:
        """The kernel of an average pooling that weighs all places alike, at the borders too; None of other nodes.

        Args:
            node: the node.
            behind: what makes its input, where a contraction does: it knows the channels where no shape tells them.
        """

    def is_seen_elsewhere(self, value: V) -> bool:
        """Whether a node asks for the shape of a tensor and for no more, or reads it from another body."""

    def why_not_bypassed(self, node: N, source: int, /) -> Refusal | None:
        """Why what reads the node's output cannot read this input of it instead, whatever the values are; or None."""

    def encode(self, node: N, meaning: Meaning) -> E | Refusal:
        """The edit that gives the node this meaning, rounded and checked, or why its types cannot hold it."""

    def encode_merged(self, node: N, before: Contraction, after: Contraction) -> E | Refusal:
        """As `encode`, of a contraction whose kernel, groups and padding may become others."""

    def encode_lowered(self, node: N, parts: Sequence[Meaning]) -> E | Refusal:
        """The edit that puts other operators in the place of a BatchNorm, or why its types cannot hold that.

        Args:
            node: a BatchNorm that is an affine map.
            parts: contractions and affine maps, of which the first reads what it reads, and the last makes what it
                makes.
        """

    def apply(self, edit: E) -> None:
        """Carry out an edit."""

    def lower(self, edit: E) -> Sequence[N]:
        """Carry out an edit of `encode_lowered`; the operators that are there now, in their order."""

    def added_nodes(self, edit: E) -> int:
        """How many nodes an edit adds to the graph."""

    def significand(self, node: N) -> int:
        """How many bits the significand has of the numbers that an affine node reads; 0 where that is not known."""

    def dead_channels(self, edit: E) -> int:
        """How many output channels an edit makes 0, because their bias alone was left of them."""

    def keeps_integers(self, edit: E) -> bool:
        """Whether an edit changes parameters that are integers already, and stay the same but for their scales."""

    def position(self, node: N) -> tuple[int, ...]:
        """Where the node stands: smaller than the position of every node that reads what it makes."""

    def rename(self, value: V) -> None:
        """Give a tensor that holds other values from now on a fresh name."""

    def bypass_upstream(self, node: N, source: int) -> None:
        """Remove a node: what makes its input now makes the tensor with its output's name."""

    def bypass_downstream(self, node: N, source: int) -> None:
        """Remove a node: what reads its output now reads its input."""

    def drop_operand(self, node: N, slot: int) -> None:
        """Let a sum of three or more tensors add one less."""

    def remove(self, node: N) -> None:
        """Remove a node that nobody reads."""


def tensor_at(values: Sequence[V | None], index: int) -> V:
    """One of the inputs or outputs of a node that a map was sent to, and that has to be there.

    Raises:
        InternalError: the node has none there.
    """
    value = values[index] if index < len(values) else None
    if value is None:
        raise InternalError(f"a map was sent to tensor {index} of a node that has none there")
    return value


def result_of(port: GraphPort[N, V, E], node: N) -> V:
    """The first output of a node.

    Raises:
        InternalError: nobody holds it.
    """
    value = port.outputs(node)[0]
    if value is None:
        raise InternalError(f"node {node.label!r} has no first output")
    return value
