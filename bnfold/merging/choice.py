"""Which branches become one operator: as many as fit together without more multiply-adds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

from bnfold.errors import InternalError
from bnfold.label import Label
from bnfold.merging.linear import Linear, times
from bnfold.port import N, V
from bnfold.refusal import Reason, Refusal
from bnfold.rules import merge_branches
from bnfold.rules.merge import frame_of, multiply_adds, outline_of
from bnfold.semantics import Contraction
from bnfold.weight import Weight

MOST_GROWTH = 1.5
"""How many times as many weights as all of its branches a merged operator may have."""


@dataclass(frozen=True, eq=False)
class Choice(Generic[N, V]):
    """Branches that become one operator.

    Attributes:
        branches: they, that of the host first.
        host: the operator that takes the weights of all.
        before: what the host means now.
        after: what all of them amount to.
    """

    branches: tuple[Linear[N, V], ...]
    host: N
    before: Contraction
    after: Contraction

    @property
    def multiply_adds(self) -> int:
        """Of all branches as they are, for one place of what they make."""
        return sum(branch.multiply_adds for branch in self.branches)

    @property
    def parameters(self) -> int:
        """Of all branches as they are."""
        return sum(branch.parameters for branch in self.branches)

    @property
    def weights(self) -> list[Weight]:
        """Of each branch that has any, as far as it is one contraction."""
        meanings = [branch.meaning for branch in self.branches if branch.weights]
        return [meaning.weight for meaning in meanings if isinstance(meaning, Contraction)]

    def with_sign(self, sign: float) -> "Choice[N, V] | Refusal":
        """The same where the host is added with a sign already."""
        if sign == 1.0:
            return self
        after = times(self.after, sign)
        return after if isinstance(after, Refusal) else replace(self, after=after)


def choose(branches: Sequence[Linear[N, V]]) -> Choice[N, V] | list[Refusal]:
    """The first branches that can become one operator, as many as can.

    Args:
        branches: of one tensor, added up.

    Returns:
        The choice; what keeps branches apart where no two of them can be one.
    """
    refusals: list[Refusal] = []
    for first in sorted((branch for branch in branches if branch.host is not None), key=_size, reverse=True):
        taken = _Taken(first)
        for other in sorted((branch for branch in branches if branch is not first), key=_size, reverse=True):
            refusal = taken.add(other)
            if refusal is not None:
                refusals.append(refusal)
        if len(taken.branches) > 1:
            choice = taken.choice()
            if not isinstance(choice, Refusal):
                return choice
            refusals.append(choice)
    return refusals


def choose_chain(chain: Linear[N, V]) -> Choice[N, V] | Refusal:
    """Operators in a row as one, where that takes fewer multiply-adds."""
    return _Taken(chain).choice()


class _Taken(Generic[N, V]):
    """Branches that fit together so far; the first has the host."""

    def __init__(self, first: Linear[N, V]) -> None:
        if first.host is None or not isinstance(first.meaning, Contraction):
            raise InternalError("a branch without weights was to take those of others")
        self.branches = [first]
        self._host, self._first, self._like = first.host, first, first.meaning
        self._parts: list[Contraction] = []
        self._weights = multiply_adds(first.meaning)
        part = first.beside(first)
        self._refusal = part if isinstance(part, Refusal) else None
        self._parts = [] if isinstance(part, Refusal) else [part]
        # Thousands of branches have few outlines, and each one that is taken asks for the frame of all.
        self._outlines = {outline_of(part): part for part in self._parts}

    def add(self, other: Linear[N, V]) -> Refusal | None:
        """Take one more branch, or say why not."""
        part = other.beside(self._first)
        if self._refusal is not None or isinstance(part, Refusal):
            return self._refusal or (part if isinstance(part, Refusal) else None)
        outlines = {**self._outlines, outline_of(part): part}
        frame = frame_of(list(outlines.values()))
        if isinstance(frame, Refusal):
            return frame.along(_name(self._host[0]), *_names(other))
        weights = frame.weights(self._like)
        if weights > self._weights + other.multiply_adds:
            apart = self._weights + other.multiply_adds
            return _costs_more("multiply-adds for each place", weights, apart).along(
                _name(self._host[0]), *_names(other)
            )
        self.branches.append(other)
        self._parts.append(part)
        self._outlines = outlines
        self._weights = weights
        return None

    def choice(self) -> Choice[N, V] | Refusal:
        """All that were taken, as one."""
        if self._refusal is not None:
            return self._refusal
        apart, parameters = (
            sum(branch.multiply_adds for branch in self.branches),
            sum(branch.parameters for branch in self.branches),
        )
        if self._weights > apart:
            return _costs_more("multiply-adds for each place", self._weights, apart).along(_name(self._host[0]))
        if self._weights > MOST_GROWTH * parameters:
            return _costs_more("weights", self._weights, parameters).along(_name(self._host[0]))
        merged = merge_branches(self._parts)
        if isinstance(merged, Refusal):
            return merged.along(_name(self._host[0]))
        node, before = self._host
        after = replace(merged, holds_bias=before.holds_bias, source=before.source)
        return Choice(tuple(self.branches), node, before, after)


def _size(branch: Linear[N, V]) -> tuple[int, int]:
    """Large kernels first, among equal ones those that are one operator."""
    weights = multiply_adds(branch.meaning) if isinstance(branch.meaning, Contraction) else 0
    return weights, -len(branch.weights)


def _costs_more(what: str, together: int, apart: int) -> Refusal:
    return Refusal(Reason.COSTS_MORE, f"together they take {together} {what}, apart {apart}")


def _name(node: N) -> Label:
    return Label(node.label, node.op)


def _names(branch: Linear[N, V]) -> list[Label]:
    return [_name(node) for node in branch.branch.nodes]
