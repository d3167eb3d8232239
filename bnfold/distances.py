"""How far zero lies from the values of a tensor, as the BatchNorms of a file know it without any data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.port import E, GraphPort, N, V
from bnfold.semantics import AffineMap, Meaning


@dataclass(frozen=True, eq=False)
class _Made:
    """What is known of the values that a BatchNorm makes: one mean (beta) and one deviation (|gamma|) per channel."""

    mean: Array
    deviation: Array


class Distances(Generic[N, V, E]):
    """Knows the values that BatchNorms make, in units of what their tensors hold now.

    What a BatchNorm knows of its input is in units of the file, and folding changes what the input holds; what it makes
    stays, until that gets a map.

    Args:
        port: the graph, before anything is folded.
        nodes: those that may have to be folded.
    """

    def __init__(self, port: GraphPort[N, V, E], nodes: Iterable[N]) -> None:
        self._port = port
        self._made = {node: _made(port.decode(node)) for node in nodes if node.is_batch_norm}

    def of(self, node: N, level: Array) -> Array | None:
        """How many deviations a level of a BatchNorm's output lies from the mean; 0 where all values are the mean.

        Args:
            node: the BatchNorm.
            level: one number per channel.
        """
        made = self._made.get(node)
        if made is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            distance: Array = np.where(made.deviation == 0, 0.0, np.abs(level - made.mean) / made.deviation)
        return distance

    def move(self, maps: Mapping[V, Affine], meanings: Mapping[N, Meaning]) -> None:
        """Note that tensors hold others values from now on, old value = map(new value).

        Args:
            maps: by tensor.
            meanings: what those nodes mean now that make them, the BatchNorms among them.
        """
        for node, meaning in meanings.items():
            behind = self._port.outputs(node)[0] if self._made.get(node) is not None else None
            if behind is not None and behind in maps:
                self._made[node] = _moved(self._made[node], maps[behind], meaning)


def _made(meaning: Meaning) -> _Made | None:
    if not isinstance(meaning, AffineMap) or meaning.statistics is None or meaning.channel_axis is None:
        return None
    channels = meaning.affine.along(meaning.channel_axis)
    if channels is None:
        return None
    mean, deviation = meaning.statistics.mean, meaning.statistics.deviation
    return _Made(channels.shift + channels.scale * mean, np.abs(channels.scale) * deviation)


def _moved(made: _Made | None, affine: Affine, meaning: Meaning) -> _Made | None:
    channels = affine.along(meaning.channel_axis) if isinstance(meaning, AffineMap) and meaning.channel_axis else None
    if made is None or channels is None or not np.all(channels.scale):
        return None
    return _Made((made.mean - channels.shift) / channels.scale, made.deviation / np.abs(channels.scale))
