"""Values of the check's own choice for parts that were cut out of a graph.

The samples decide what flows through a network: a channel that a Relu keeps at zero hides whatever is wrong behind it.
A fold is an identity for all values, so that any values will do: symmetric ones that reach everything, and zeros, which
leave the shift alone.
"""

from collections.abc import Container, Iterator, Mapping

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.compare import FLOATS

# Vectors and numbers may be scales, bounds or lengths: they stay what they were.
_LOWEST_RANK = 2


def probes(seen: Mapping[str, Array], seed: int, fixed: Container[str] = ()) -> Iterator[tuple[str, dict[str, Array]]]:
    """Values for all tensors, and how messages call them.

    Args:
        seen: real values; the others have their types and shapes, and only floating-point tensors change.
        seed: of the random ones.
        fixed: tensors to leave alone: inputs of which the caller has given values, and perhaps knows no others.
    """
    rng = np.random.default_rng([seed, 1])
    yield (
        "on normal values where it begins",
        {name: values if name in fixed else _normal(values, rng) for name, values in seen.items()},
    )
    yield (
        "on zeros where it begins",
        {name: values if name in fixed else _zeros(values) for name, values in seen.items()},
    )


def _is_free(values: Array) -> bool:
    return values.dtype in FLOATS and values.ndim >= _LOWEST_RANK


def _normal(values: Array, rng: np.random.Generator) -> Array:
    if not _is_free(values):
        return values
    drawn = rng.standard_normal(values.shape, np.float32)
    return drawn.astype(values.dtype, copy=False)


def _zeros(values: Array) -> Array:
    return np.zeros_like(values) if _is_free(values) else values
