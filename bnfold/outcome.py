"""What the engine did and did not do, node by node."""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from bnfold.int8 import WeightRange
from bnfold.refusal import Refusal
from bnfold.scales import ScaleSummary

Direction = Literal["upstream", "downstream", "both", "merged", "removed", "computed", "branch", "across"]


LowerTo: TypeAlias = Literal["conv", "affine", "add"]
"""What a BatchNorm that stays is rewritten into."""

OneOperator: TypeAlias = Literal["Add", "Mul"]
"""What would do in the place of a BatchNorm, where the other half of its map goes into the operators around."""


@dataclass(frozen=True)
class Change:
    """A size before and after."""

    before: int
    after: int


@dataclass(frozen=True)
class Quantization:
    """What quantising to int8 would do to a weight before and after it took something.

    Attributes:
        weight: label of the operator whose weight it is.
        before, after: the weight; of a merge, `before` is those of all branches.
    """

    weight: str
    before: WeightRange
    after: WeightRange


@dataclass(frozen=True)
class Surroundings:
    """Where a BatchNorm stood in the model as it was.

    Attributes:
        before: label of what makes its input; "" where nothing in the same graph does.
        behind: labels of what reads its output, the first few.
        readers: how many do.
        scales: of its map; None where it is no constant map.
    """

    before: str
    behind: tuple[str, ...]
    readers: int
    scales: ScaleSummary | None


@dataclass(frozen=True)
class Fold:
    """One affine node that is gone.

    Attributes:
        node: label of the node: its name or, where it has none, its output's, as the file called them.
        op: operator type as the file spells it, such as "BatchNormalization".
        is_batch_norm: False for a Mul, Add, Sub or Div by a constant.
        tensor: name of the tensor that held the node's output and, folded upstream, still holds the same values.
        direction: where the map went; "removed" where there was none: x * 1 and x + 0; "computed" where the node only
            helped to compute a weight that took the map of another; "branch" where it was one of several parallel
            branches that became one operator; "across" where the map crossed tensors that others read, and those took
            its inverse.
        into: labels of the nodes whose parameters took it.
        through: labels of the nodes that it passed on the way.
        amplification: max|W'| / max|W|, the largest over the absorbing weights.
        dead_channels: how many output channels of the absorbing weights became 0, because what they could still add to
            their bias is lost in rounding.
        number: of the node among all nodes of the model before any fold, from 0.
        quantization: of the weight that int8 suits least of those that took the map; None where none did, but integers.
        zero_point: across tensors that others read: how far the node's zero lies from the mean of its input, in its
            deviations, in the worst channel. So far from zero are the values that the others read now.
        surroundings: of a BatchNorm; None of other nodes.
        added_nodes: how many nodes were added to hold what had no room in others: an Add behind a product, at most one.
    """

    node: str
    op: str
    is_batch_norm: bool
    tensor: str
    direction: Direction
    into: tuple[str, ...]
    through: tuple[str, ...]
    amplification: float
    dead_channels: int = 0
    number: int = -1
    quantization: Quantization | None = None
    zero_point: float = 0.0
    surroundings: Surroundings | None = None
    added_nodes: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether the node changed nothing, so that nothing had to take its map."""
        return self.direction == "removed"


@dataclass(frozen=True)
class Kept:
    """One affine node that stays, with the reason of every direction that was tried (upstream first).

    Attributes:
        node, op, is_batch_norm, number, surroundings: as of a `Fold`.
        refusals: the reasons, one at least.
        not_lowered: of a BatchNorm that was to be lowered: why no other operators stand for it; None else.
        would_do: the one operator that would do in the place of a BatchNorm, the other half of its map being taken by
            operators around; None where there is none, or nobody asked.
    """

    node: str
    op: str
    is_batch_norm: bool
    refusals: tuple[Refusal, ...]
    number: int = -1
    surroundings: Surroundings | None = None
    not_lowered: Refusal | None = None
    would_do: OneOperator | None = None

    def __repr__(self) -> str:
        """In one line, as somebody wants it at a prompt."""
        return f"<Kept {self.op} {self.node!r}: {', '.join(map(repr, self.refusals))}>"


@dataclass(frozen=True)
class Lowered:
    """One BatchNorm that could not be folded, and that other operators stand for now.

    Attributes:
        node, op, tensor, number, surroundings: as of a `Fold`.
        operators: types of the operators that stand for it, as the file spells them, in their order; none where these
            have been folded after all.
        into: labels of the nodes whose parameters took a part of it.
        refusals: why it could not be folded, as of a `Kept`.
    """

    node: str
    op: str
    tensor: str
    operators: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    into: tuple[str, ...] = ()
    number: int = -1
    surroundings: Surroundings | None = None
    is_batch_norm: Literal[True] = True


@dataclass(frozen=True)
class Merge:
    """Parallel branches, or operators in a row, that became one operator.

    Attributes:
        node: label of the sum of the branches, or of the operator that stays of those in a row; to be excluded from
            merging by.
        into: label of the operator that has their weights now.
        gone: labels of the operators that are gone.
        tensor: name of the tensor that they make, which holds the same values as before.
        branches: how many became one.
        multiply_adds: for one place of that tensor.
        parameters: numbers in their weights.
        operators: how many there were, and are.
        quantization: of the weights of all branches, whose errors add up, and of the one that they became.
        number: of `node` among all nodes of the model before any fold, from 0.
    """

    node: str
    into: str
    gone: tuple[str, ...]
    tensor: str
    branches: int
    multiply_adds: Change
    parameters: Change
    operators: Change
    quantization: Quantization
    number: int = -1


@dataclass(frozen=True)
class Apart:
    """A sum with branches of one tensor that stay apart.

    Attributes:
        node: label of the sum.
        refusals: what keeps them apart; the path names the operators.
        number: as of a `Merge`.
    """

    node: str
    refusals: tuple[Refusal, ...]
    number: int = -1


Rewrite: TypeAlias = Fold | Merge | Lowered
"""One thing that was done to a model."""


@dataclass(frozen=True, repr=False)
class Outcome:
    """All affine nodes of a model, in the order of the graph, and all branches.

    Attributes:
        folds: those that are gone.
        kept: those that stay.
        unmatched: patterns of nodes to leave alone that match no node of the model.
        merges: branches that became one operator, in the order in which they did.
        apart: sums whose branches did not.
        lowered: BatchNorms that were neither folded nor kept: other operators stand for them.
    """

    folds: tuple[Fold, ...]
    kept: tuple[Kept, ...]
    unmatched: tuple[str, ...] = ()
    merges: tuple[Merge, ...] = ()
    apart: tuple[Apart, ...] = ()
    lowered: tuple[Lowered, ...] = ()

    @property
    def changes(self) -> tuple[Rewrite, ...]:
        """All that was done to the model; without any, it is what it was."""
        return (*self.folds, *self.merges, *self.lowered)

    def __repr__(self) -> str:
        counts = {entry.name: len(getattr(self, entry.name)) for entry in fields(self)}
        return f"<Outcome: {', '.join(f'{name} {count}' for name, count in counts.items() if count) or 'nothing'}>"
