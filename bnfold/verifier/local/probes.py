"""Values of the verifier's own choice for what subgraphs begin with.

The samples decide what flows through a network: a channel that a Relu keeps at zero hides whatever is wrong behind it.
A fold is an identity for all values, so that any values will do: symmetric ones of many magnitudes, which reach
everything, zeros, which leave the shift alone, and impulses, which bring out single weights: among a thousand others,
one that is off by less than their rounding together is not seen.
"""

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import ceil, prod

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import Crop, Window
from bnfold.verifier.local.half_units import wide

# Vectors and numbers may be scales, bounds or lengths: they stay what they were.
_LOWEST_RANK = 2
_MATRIX, _TOKENS = 2, 3
_GROUPS = ((-3, 0), (1, 4), (5, 8))
"""Powers of two, each group compared by itself: small values for what saturates, and large ones, in which a shift
drowns."""
_ROWS = 16
"""Samples of a subgraph that makes one number per channel of each."""
_FEWEST_SAMPLES = 2
_HEIGHT = 2.0**20
_MOST_RUNS = 2**9
"""On impulses, where a run takes no more samples than the model does."""
_MOST_NUMBERS = 2**17
"""Of one run on impulses: 1 MB, which stay in the processor's cache."""
_MOST_IN_ALL, _MOST_OF_WIDE = 2**27, 2**20
"""Of all runs on impulses of one part; and where its type has so many digits that random values show all but the least
of single numbers."""
_ALL_OF_A_CROP = 2**23
"""As many if that is all of them, and weights are only looked up: nothing is multiplied on a crop."""


@dataclass(frozen=True)
class Probe:
    """Values for all tensors that a subgraph begins with.

    Attributes:
        where: how messages call them.
        values: by the name of the tensor; floating-point numbers as float64.
        groups: so many groups of samples, each of other magnitudes, lie one behind the other.
    """

    where: str
    values: Mapping[str, Array]
    groups: int = 1


@dataclass(frozen=True)
class Impulses:
    """What a part needs of single numbers.

    Attributes:
        narrow: whether its own are of half precision, so that each has to be seen.
        alone: whether no two may stand in one sample.
        sides: of zero.
        lengths: of stored tables, by the tensors of integers that index them: each row has its turn.
    """

    narrow: bool
    alone: bool = False
    sides: Sequence[int] = (1,)
    lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Probes:
    """A way to choose them.

    Attributes:
        seed: of the random ones.
        fixed: tensors to leave alone: inputs of which the caller has given values, and perhaps knows no others.
    """

    seed: int
    fixed: Container[str] = ()

    def further(self) -> "Iterator[Probes]":
        """The same way with other seeds, itself first."""
        return (replace(self, seed=self.seed + more) for more in itertools.count())

    def draws(self, seen: Mapping[str, Array], crop: Crop) -> Iterator[Probe]:
        """Random values, and zeros.

        Args:
            seen: real values; the others have their types and shapes, and only floating-point tensors change.
            crop: how much of them is needed.
        """
        rng = np.random.default_rng([self.seed, 1])
        free = {name: values.shape for name, values in seen.items() if self.is_free(name, values)}
        if crop.any_samples and len(free) == len(seen):
            drawn = {name: _in_groups(_shape(shape, crop), rng) for name, shape in free.items()}
            yield Probe("on random values and zeros, this part alone", drawn, len(_GROUPS) + 1)
            return
        others = {name: wide(values) for name, values in seen.items() if name not in free}
        for exponents in _GROUPS if free else ():
            drawn = {name: _random(shape, shape, rng, exponents) for name, shape in free.items()}
            yield Probe("on random values, this part alone", others | drawn)
        yield Probe("on zeros, this part alone", others | {name: np.zeros(shape) for name, shape in free.items()})

    def impulses(self, seen: Mapping[str, Array], crop: Crop, wanted: Impulses) -> Iterator[Probe]:
        """Single large numbers among zeros, so that each brings single weights to the outputs; nothing but zeros first.

        Args:
            seen: as of `draws`.
            crop: likewise.
            wanted: which ones.
        """
        free = {name: values for name, values in seen.items() if self.is_free(name, values)}
        others = {name: wide(values) for name, values in seen.items() if name not in free}
        crop = Crop() if others else crop
        quiet = {name: np.zeros(_smallest_shape(values.shape, crop)) for name, values in free.items()}
        yield Probe("on zeros, this part alone", others | quiet)
        for name, values in ((name, values) for name, values in quiet.items() if values.size):
            samples = _Samples(values.shape, crop, wanted.alone)
            most = _MOST_IN_ALL if wanted.narrow else _MOST_OF_WIDE
            for side, places in product(wanted.sides, samples.in_runs(most, self.seed)):
                length = len(places) if crop.any_samples else values.shape[0]
                still = {other: np.zeros((length, *array.shape[1:])) for other, array in quiet.items()}
                for sample, together in enumerate(places):
                    for place in together:
                        where: tuple[int, ...] = (sample, *place)
                        still[name][where] = side * _HEIGHT
                yield Probe("on single numbers, this part alone", others | still)
        for name in [name for name in others if name in wanted.lengths and name not in self.fixed]:
            for rows in _rows_of_a_table(others[name], wanted.lengths[name]):
                yield Probe("on every row of a table", others | quiet | {name: rows})

    def is_free(self, name: str, values: Array) -> bool:
        """Whether a tensor may take any values."""
        return name not in self.fixed and values.dtype in FLOATS and values.ndim >= _LOWEST_RANK


def _shape(shape: Sequence[int], crop: Crop) -> tuple[int, ...]:
    """As much of a tensor as it takes to tell rounding from an error."""
    if crop.side is not None:
        return (1, shape[1], *(min(size, crop.side) for size in shape[2:]))
    rows = _ROWS if len(shape) == _MATRIX else max(_FEWEST_SAMPLES, _ROWS // max(1, prod(shape[2:])))
    return (rows, *shape[1:])


def _smallest_shape(shape: Sequence[int], crop: Crop) -> tuple[int, ...]:
    """As much of a tensor as every weight needs to meet a single number."""
    if crop.side is not None:
        return (1, shape[1], *(min(size, crop.window.least_side) for size in shape[2:]))
    return (1, *shape[1:]) if crop.any_samples else tuple(shape)


def _in_groups(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Samples of one group of magnitudes behind those of another, and zeros at the end.

    Magnitudes vary from sample to sample, or from column to column of an image: not along the features, of which some
    would be small everywhere, and hide what is wrong with their weights.
    """
    varying = 0 if len(shape) <= _TOKENS else len(shape) - 1
    along = [size if axis == varying else 1 for axis, size in enumerate(shape)]
    return np.concatenate([*(_random(shape, along, rng, exponents) for exponents in _GROUPS), np.zeros(shape)])


def _random(shape: Sequence[int], along: Sequence[int], rng: np.random.Generator, exponents: tuple[int, int]) -> Array:
    """Normal numbers, of magnitudes of another shape: each has its own where nothing is known of the axes."""
    return np.asarray(np.ldexp(rng.standard_normal(shape), rng.integers(*exponents, along, np.int32, endpoint=True)))


def _rows_of_a_table(indices: Array, length: int) -> Iterator[Array]:
    """All indices of a table, as many at a time as there are."""
    for begin in range(0, length if indices.size else 0, max(1, indices.size)):
        yield np.resize(np.arange(begin, min(length, begin + indices.size), dtype=indices.dtype), indices.shape)


def _offsets(size: int, window: Window) -> range:
    """As many neighbouring places as outputs are apart, away from the border where there is room; else all."""
    return range(window.first, size - window.first) if size >= window.least_side else range(size)


@dataclass(frozen=True)
class _Samples:
    """Where impulses stand, sample by sample: every weight meets one, and no output sees two.

    Attributes:
        shape: of a tensor.
        crop: how much of it is needed.
        alone: as of Impulses.
    """

    shape: Sequence[int]
    crop: Crop
    alone: bool

    def in_runs(self, most: int, seed: int) -> Iterator[list[list[tuple[int, ...]]]]:
        """As many samples at a time as one run takes.

        Args:
            most: numbers of all samples; where there are more, only one sample in so many.
            seed: other ones with every seed.
        """
        places, count = self._in_order()
        each = max(1, prod(self.shape[1:]))
        length = max(1, _MOST_NUMBERS // each if self.crop.any_samples else self.shape[0])
        if self.crop.side is not None and count * each <= _ALL_OF_A_CROP:
            most = max(most, _ALL_OF_A_CROP)
        most = most // each if self.crop.any_samples else min(most // each, _MOST_RUNS * length)
        apart = max(1, ceil(count / max(1, most)))
        chosen = range(seed % apart, count, apart)
        for begin in range(0, len(chosen), length):
            yield [places(number) for number in chosen[begin : begin + length]]

    def _in_order(self) -> tuple[Callable[[int], list[tuple[int, ...]]], int]:
        """What stands in each sample, and how many there are."""
        if self.crop.side is not None:
            around = list(product(*(_offsets(size, self.crop.window) for size in self.shape[2:])))
            return partial(self._in_groups, around), self.shape[1] // self.crop.groups * len(around)
        if len(self.shape) == _TOKENS and not self.alone:
            least, most = sorted(self.shape[1:])
            return self._in_pairs, ceil(most / least)
        count = prod(self.shape[1:])
        if not self.crop.any_samples and len(self.shape) > _TOKENS and count > _MOST_RUNS * self.shape[0]:
            return self._on_diagonals, self.shape[1]
        return self._everywhere, count

    def _in_groups(self, around: Sequence[tuple[int, ...]], number: int) -> list[tuple[int, ...]]:
        """In one channel of each group, at one of a few places."""
        channel, place = divmod(number, len(around))
        each = self.shape[1] // self.crop.groups
        return [(group * each + channel, *around[place]) for group in range(self.crop.groups)]

    def _in_pairs(self, number: int) -> list[tuple[int, ...]]:
        """Of two axes, the weights lie along one, and places of the other do not meet: one impulse in each."""
        least, most = sorted(self.shape[1:])
        pairs = [(step, (step + number * least) % most) for step in range(least)]
        return list(pairs) if self.shape[1] <= self.shape[2] else [(b, a) for a, b in pairs]

    def _on_diagonals(self, number: int) -> list[tuple[int, ...]]:
        """At all places, in another channel at each."""
        return [((at + number) % self.shape[1], *place) for at, place in enumerate(np.ndindex(*self.shape[2:]))]

    def _everywhere(self, number: int) -> list[tuple[int, ...]]:
        return [tuple(int(at) for at in np.unravel_index(number, self.shape[1:]))]
