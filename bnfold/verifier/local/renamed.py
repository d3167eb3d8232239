"""Tensors that have other names in the new model: what they hold, one after the other.

Parts begin at tensors of which that is known, so they stay short on a stream that many maps have crossed.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import crop_of
from bnfold.verifier.local.float64.operator import NotComputedError
from bnfold.verifier.local.pair import SubgraphPair, can_be_alone
from bnfold.verifier.local.probes import Probes
from bnfold.verifier.models.changed import ChangedTensor, cut_without
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.held import Held


class Unlike(Exception):  # noqa: N818 - news, not an error
    """Tensors of the new model hold nothing like what those do whose names they were given.

    Attributes:
        names: these.
    """

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names


def find_held(
    original: Structure, new: Structure, tensors: Iterable[ChangedTensor], seen: Mapping[str, Array], probes: Probes
) -> None:
    """Find out what tensors hold of which that is open, and note it in `new.held`.

    Args:
        original: the original.
        new: the new model.
        tensors: where they part, in order.
        seen: values of tensors that subgraphs begin with.
        probes: how other values are chosen.

    Raises:
        Unlike: no map says it, or it cannot be computed.
    """
    unlike: set[str] = set()
    for changed in tensors:
        name = changed.name
        if name in new.held:
            near = changed if unlike.isdisjoint(changed.boundary) else cut_without(unlike, original, new, name)
            new.held[name] = held = _held_at(near, original, new, seen, probes)
            if held is None:
                unlike.add(name)
            elif held.changes_nothing:
                del new.held[name]
    if unlike:
        raise Unlike(frozenset(unlike))


def _held_at(
    changed: ChangedTensor, original: Structure, new: Structure, seen: Mapping[str, Array], probes: Probes
) -> Held | None:
    if not can_be_alone(changed, original, seen):
        return None
    begin = {name: seen[name] for name in changed.boundary}
    crop = crop_of(changed, original, new, {name: array.shape for name, array in begin.items()})
    with suppress(NotComputedError):
        return SubgraphPair(changed, original, new).infer_end(again.draws(begin, crop) for again in probes.further())
    return None
