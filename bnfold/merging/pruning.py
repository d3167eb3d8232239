"""What becomes of a sum of sums when some of its operands go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from bnfold.label import Label
from bnfold.merging.branches import Branch, SumTree
from bnfold.port import N, V
from bnfold.refusal import Reason, Refusal


@dataclass(frozen=True, eq=False)
class Pruning(Generic[N]):
    """What each sum of a tree adds from now on, inner sums before those that read them.

    Attributes:
        gone: of each sum, the inputs that go.
        left: of each sum, the others. With one left, the sum goes as well, and what is left takes its place.
        changed: the inner sums that make other values.
    """

    gone: dict[N, list[int]] = field(default_factory=dict)
    left: dict[N, list[int]] = field(default_factory=dict)
    changed: set[N] = field(default_factory=set)

    @property
    def removed(self) -> list[N]:
        """The sums that go."""
        return [node for node, left in self.left.items() if len(left) < 2]


def prune(tree: SumTree[N, V], host: Branch[N, V], dropped: Sequence[Branch[N, V]]) -> Pruning[N] | Refusal:
    """What is left of a tree.

    Args:
        tree: the sums.
        host: the operand that stays and takes what the others were.
        dropped: the operands that go.

    Returns:
        What is left; BRANCHES_DIFFER where that would be an operand with a negative sign, alone.
    """
    found: Pruning[N] = Pruning()
    lost = {(leaf.into, leaf.slot) for leaf in dropped}
    touched = {(host.into, host.slot), *lost}
    negative = {(leaf.into, leaf.slot) for leaf in tree.leaves if leaf.sign < 0}
    inner = {place: node for node, place in tree.parents.items()}
    slots: dict[N, list[int]] = {node: [] for node in tree.sums}
    for node, slot in (*((leaf.into, leaf.slot) for leaf in tree.leaves), *inner):
        slots[node].append(slot)
    for node in tree.sums:
        places = [(node, slot) for slot in sorted(slots[node])]
        left = [slot for place in places if not _goes(place, lost, inner, found) for slot in place[1:]]
        found.left[node] = left
        found.gone[node] = [slot for _, slot in places if slot not in left]
        if any(place in touched or inner.get(place) in found.changed for place in places):
            found.changed.add(node)
        alone = (node, left[0]) if len(left) == 1 else None
        if alone in negative and alone != (host.into, host.slot):
            evidence = f"what is left of {node.label!r} would have to be negated"
            return Refusal(Reason.BRANCHES_DIFFER, evidence, path=(Label(node.label, node.op),))
    found.changed.discard(tree.root)
    return found


def _goes(place: tuple[N, int], lost: set[tuple[N, int]], inner: dict[tuple[N, int], N], found: Pruning[N]) -> bool:
    """Whether nothing is added any more at an input of a sum."""
    return place in lost or (place in inner and not found.left[inner[place]])
