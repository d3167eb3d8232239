"""Which weights int8 suits much less than before they took maps or branches, and what to do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bnfold.outcome import Fold, Merge, Quantization
from bnfold.report.labels import called

_MUCH = 6.0
"""Decibels: half of the precision."""
_ENOUGH = 30.0
"""Decibels that are left: 3 % of noise, which networks are known to bear."""
_MANY = 0.05
"""Of the channels, that round to zero with one scale for all."""


class Remedy(Enum):
    """What to do about a weight; the value is a sentence for people, with a place for the node."""

    PER_CHANNEL = "if you quantise: a scale for each channel, or equalise it with the layer behind first"
    APART = "if you quantise: exclude {node} from folding, or keep it in float; a scale for each channel is not enough"


@dataclass(frozen=True)
class Suffering:
    """A weight that int8 suits much less than before.

    Attributes:
        weight: label of its operator.
        node: label of what to exclude so that the weight stays as it is.
        quantization: before and after.
    """

    weight: str
    node: str
    quantization: Quantization

    @property
    def remedy(self) -> Remedy:
        """What to do.

        Channels that differ are told apart by scales of their own, or made alike by equalisation across layers (Nagel
        et al. 2019, arXiv:1906.04721, section 4.1). Neither helps where numbers within a channel differ, as in front of
        a BatchNorm that folded downstream, or in a kernel that took the branch of one place.
        """
        before, after = self.quantization.before.per_channel, self.quantization.after.per_channel
        return Remedy.APART if after < _ENOUGH and before - after >= _MUCH else Remedy.PER_CHANNEL

    @property
    def advice(self) -> str:
        """The remedy in words."""
        return self.remedy.value.format(node=called(self.node))


def suffering(folds: Sequence[Fold], merges: Sequence[Merge]) -> list[Suffering]:
    """The worst first; of several changes of one weight, the last: a merge comes after the folds of its branches."""
    found: dict[str, Suffering] = {}
    changes = [(fold.node, fold.quantization) for fold in folds] + [
        (merge.node, merge.quantization) for merge in merges
    ]
    for node, quantization in changes:
        if quantization is not None:
            found[quantization.weight] = Suffering(quantization.weight, node, quantization)
    return sorted(filter(_suffers, found.values()), key=lambda entry: entry.quantization.after.per_tensor)


def _suffers(entry: Suffering) -> bool:
    before, after = entry.quantization.before, entry.quantization.after
    if math.isnan(before.per_tensor) or math.isnan(after.per_tensor):
        return False
    if after.vanishing - before.vanishing > _MANY * len(after.channels):
        return True
    return after.per_tensor < _ENOUGH and before.per_tensor - after.per_tensor >= _MUCH
