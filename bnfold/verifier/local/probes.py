"""Values of the verifier's own choice for what subgraphs begin with.

The samples decide what flows through a network: a channel that a Relu keeps at zero hides whatever is wrong behind it.
A fold is an identity for all values, so that any values will do: symmetric ones of many magnitudes, which reach
everything, zeros, which leave the shift alone, and impulses, which bring out single weights.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import Crop, Window
from bnfold.verifier.local.half_units import wide

# Vectors and numbers may be scales, bounds or lengths: they stay what they were.
_LOWEST_RANK = 2
_MATRIX, _TOKENS = 2, 3
# Powers of two: small values for what saturates, large ones for what drowns in a shift.
_MAGNITUDES = (-2, 4)
_GROUPS = ((-3, 0), (1, 4), (5, 8))
"""The same where values of some magnitudes are compared by themselves: a shift drowns in what large ones make."""
_ROWS = 16
"""Samples of a subgraph that makes one number per channel of each."""
_FEWEST_SAMPLES = 2
_HEIGHT = 2.0**20
_MOST_IMPULSES = 2**14
_MOST_RUNS = 64
_MOST_NUMBERS = 2**22
"""Of one run on impulses: 32 MB."""


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
class Probes:
    """A way to choose them.

    Attributes:
        seed: of the random ones.
        fixed: tensors to leave alone: inputs of which the caller has given values, and perhaps knows no others.
    """

    seed: int
    fixed: Container[str] = ()

    def draws(self, seen: Mapping[str, Array], crop: Crop) -> Iterator[Probe]:
        """Random values, and zeros.

        Args:
            seen: real values; the others have their types and shapes, and only floating-point tensors change.
            crop: how much of them is needed.
        """
        rng = np.random.default_rng([self.seed, 1])
        free = [name for name, values in seen.items() if self.is_free(name, values)]
        if crop.any_samples and len(free) == len(seen):
            drawn = {name: _in_groups(_shape(values.shape, crop), rng, crop) for name, values in seen.items()}
            yield Probe("on random values and zeros where it begins", drawn, len(_GROUPS) + 1)
            return
        others = {name: wide(values) for name, values in seen.items() if name not in free}
        yield Probe(
            "on random values where it begins",
            others | {n: _random(seen[n].shape, rng, _varying_axis(seen[n].shape, crop), _MAGNITUDES) for n in free},
        )
        yield Probe("on zeros where it begins", others | {name: np.zeros(seen[name].shape) for name in free})

    def impulses(self, seen: Mapping[str, Array], crop: Crop) -> Iterator[Probe]:
        """Single large numbers among zeros, so that each brings single weights to the outputs; nothing but zeros first.

        Where single numbers cannot be told from each other, as in what has a tensor of another kind, there are none.
        """
        if not all(self.is_free(name, values) for name, values in seen.items()):
            return
        quiet = {name: np.zeros(_smallest_shape(values.shape, crop)) for name, values in seen.items()}
        yield Probe("on zeros where it begins", quiet)
        for name, values in quiet.items():
            for places in _in_runs(_places(values.shape, crop), values.shape, crop):
                length = len(places) if crop.any_samples else values.shape[0]
                fed = np.zeros((length, *values.shape[1:]))
                for sample, together in enumerate(places):
                    for place in together:
                        where: tuple[int, ...] = (sample, *place)
                        fed[where] = _HEIGHT
                others = {
                    other: np.zeros((length, *array.shape[1:])) for other, array in quiet.items() if other != name
                }
                yield Probe("on single numbers where it begins", {name: fed, **others})

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
        length = 2 * (crop.window.length - 1) + crop.window.stride
        return (1, shape[1], *(min(size, length) for size in shape[2:]))
    return (1, *shape[1:]) if crop.any_samples else tuple(shape)


def _in_groups(shape: Sequence[int], rng: np.random.Generator, crop: Crop) -> Array:
    """Samples of one group of magnitudes behind those of another, and zeros at the end."""
    sizes = (_random(shape, rng, _varying_axis(shape, crop), exponents) for exponents in _GROUPS)
    return np.concatenate([*sizes, np.zeros(shape)])


def _random(shape: Sequence[int], rng: np.random.Generator, axis: int, exponents: tuple[int, int]) -> Array:
    """Normal numbers, of another magnitude at each place of an axis."""
    drawn = rng.standard_normal(shape)
    magnitudes = np.exp2(rng.integers(*exponents, shape[axis], endpoint=True))
    return np.asarray(drawn * magnitudes.reshape([-1 if other == axis else 1 for other in range(len(shape))]))


def _varying_axis(shape: Sequence[int], crop: Crop) -> int:
    """Along which magnitudes vary: not along the features, of which large ones would hide what is wrong with others."""
    return 0 if len(shape) == _MATRIX or (crop.any_samples and len(shape) == _TOKENS) else len(shape) - 1


def _places(shape: Sequence[int], crop: Crop) -> list[list[tuple[int, ...]]]:
    """Where impulses stand, sample by sample: every weight meets one, and no output sees two."""
    if crop.side is not None:
        around = list(product(*(_offsets(size, crop.window) for size in shape[2:])))
        return _some([[(channel, *place)] for channel in range(shape[1]) for place in around])
    if len(shape) == _TOKENS:  # the weights are along one axis, and the places of the other do not see each other
        least, most = sorted(shape[1:])
        pairs: list[list[tuple[int, ...]]]
        pairs = [[(step, (step + begin) % most) for step in range(least)] for begin in range(0, most, least)]
        return pairs if shape[1] <= shape[2] else [[(b, a) for a, b in together] for together in pairs]
    everywhere = list(np.ndindex(*shape[1:]))
    if not crop.any_samples and len(everywhere) > _MOST_RUNS * shape[0]:
        channels, places = shape[1], everywhere[: prod(shape[2:])]
        return [[((at + step) % channels, *place[1:]) for at, place in enumerate(places)] for step in range(channels)]
    return _some([[place] for place in everywhere])


def _offsets(size: int, window: Window) -> range:
    """As many neighbouring places as outputs are apart, away from the border where there is room; else all."""
    first = window.length - 1
    return range(first, first + window.stride) if first + window.stride + first <= size else range(size)


def _some(places: list[list[tuple[int, ...]]]) -> list[list[tuple[int, ...]]]:
    return places[:: -(-len(places) // _MOST_IMPULSES)] if places else places


def _in_runs(
    places: list[list[tuple[int, ...]]], shape: Sequence[int], crop: Crop
) -> Iterator[list[list[tuple[int, ...]]]]:
    """As many samples at a time as one run takes."""
    if crop.any_samples:
        length, most = max(1, _MOST_NUMBERS // max(1, prod(shape[1:]))), len(places)
    else:
        length, most = max(1, shape[0]), _MOST_RUNS * max(1, shape[0])
    for begin in range(0, min(len(places), most), length):
        yield places[begin : begin + length]
