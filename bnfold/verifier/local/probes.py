"""Values of the check's own choice for parts that were cut out of a graph.

The samples decide what flows through a network: a channel that a Relu keeps at zero hides whatever is wrong behind it.
A fold is an identity for all values, so that any values will do: symmetric ones of many magnitudes, which reach
everything, and zeros, which leave the shift alone.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array

# Vectors and numbers may be scales, bounds or lengths: they stay what they were.
_LOWEST_RANK = 2
# Powers of two: small values for what saturates, large ones for what drowns in a shift.
_MAGNITUDES = (-2, 4)


@dataclass(frozen=True)
class Probe:
    """Values for the tensors that parts begin with.

    Attributes:
        where: how messages call them.
        values: by the name of the tensor.
        random: the tensors whose values are independent of each other.
    """

    where: str
    values: Mapping[str, Array]
    random: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Probes:
    """A way to choose values.

    Attributes:
        seed: of the random ones.
        fixed: tensors to leave alone: inputs of which the caller has given values, and perhaps knows no others.
    """

    seed: int
    fixed: Container[str] = ()

    def of(self, seen: Mapping[str, Array]) -> Iterator[Probe]:
        """Values for all tensors.

        Args:
            seen: real values; the others have their types and shapes, and only floating-point tensors change.
        """
        rng = np.random.default_rng([self.seed, 1])
        free = frozenset(name for name, values in seen.items() if name not in self.fixed and _is_free(values))
        drawn = {name: _random(values, rng) if name in free else values for name, values in seen.items()}
        yield Probe("on random values where it begins", drawn, free)
        zeros = {name: np.zeros_like(values) if name in free else values for name, values in seen.items()}
        yield Probe("on zeros where it begins", zeros)


def _is_free(values: Array) -> bool:
    return values.dtype in FLOATS and values.ndim >= _LOWEST_RANK


def _random(values: Array, rng: np.random.Generator) -> Array:
    drawn = rng.standard_normal(values.shape, np.float32)
    drawn *= np.exp2(rng.integers(*_MAGNITUDES, values.shape[-1], endpoint=True)).astype(np.float32)
    return drawn.astype(values.dtype, copy=False)
