"""Which weights int8 suits much less than before they took maps or branches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bnfold.outcome import Fold, Merge, Quantization

ADVICE = (
    "estimated ratio of signal to noise of the weight in int8 with one scale for all channels; if you quantise, take a "
    "scale for each channel, or keep these apart with --exclude"
)
_MUCH = 6.0
"""Decibels: half of the precision."""
_ENOUGH = 30.0
"""Decibels that are left: 3 % of noise, which networks are known to bear."""


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


def suffering(folds: Sequence[Fold], merges: Sequence[Merge]) -> list[Suffering]:
    """The worst first; of several changes of one weight, the last: a merge comes after the folds of its branches."""
    found: dict[str, Suffering] = {}
    for fold in folds:
        if fold.quantization is not None and fold.into:
            found[fold.into[0]] = Suffering(fold.into[0], fold.node, fold.quantization)
    for merge in merges:
        found[merge.into] = Suffering(merge.into, merge.node, merge.quantization)
    return sorted(filter(_suffers, found.values()), key=lambda entry: entry.quantization.after.per_tensor)


def _suffers(entry: Suffering) -> bool:
    before, after = entry.quantization.before.per_tensor, entry.quantization.after.per_tensor
    if math.isnan(before) or math.isnan(after):
        return False
    return after < _ENOUGH and before - after >= _MUCH
