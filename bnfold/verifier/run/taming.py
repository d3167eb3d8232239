"""Samples on which the original overflows, made smaller until it does not: infinity and NaN say little of a model."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS, tensors
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.signature import Port
from bnfold.verifier.run.session import Feeds, Observation

_EXPONENTS = range(8, 72, 8)


@dataclass
class Tamer:
    """Makes samples smaller, but for the inputs of which the caller has given values: these are fixed."""

    ports: Sequence[Port]
    fixed: Collection[str]
    _is_hopeless: bool = field(default=False, init=False)

    def tame(
        self, feeds: Feeds, seen: Observation, observe: Callable[[Feeds], Observation]
    ) -> tuple[int, Feeds, Observation] | None:
        """The exponent by which a sample was divided, the sample, and what the original makes of it.

        None where nothing was infinite when it was seen, and where something always is: then no further one is tried.
        """
        if self._is_hopeless or _is_finite(seen):
            return None
        drawn = (port.name for port in self.ports if port.name not in self.fixed)
        free = {name for name in drawn if any(np.any(array) for array in _floats(feeds[name]))}
        for exponent in _EXPONENTS if free else ():
            others = {name: _divided(value, exponent) if name in free else value for name, value in feeds.items()}
            with suppress(RefusedError):
                again = observe(others)
                if _is_finite(again):
                    return exponent, others, again
        self._is_hopeless = bool(free)
        return None


def _is_finite(observation: Observation) -> bool:
    """Whether a run made neither infinity nor NaN, as far as it was seen."""
    seen = (*observation.outputs, *observation.tensors.values())
    return all(np.isfinite(array).all() for value in seen for array in _floats(value))


def _floats(value: object) -> Iterator[Array]:
    return (array for array in tensors(value) if array.dtype in FLOATS)


def _divided(value: Any, exponent: int) -> Any:  # noqa: ANN401 - an array or a list of them
    if isinstance(value, list):
        return [_divided(element, exponent) for element in value]
    return (value * value.dtype.type(2.0**-exponent)).astype(value.dtype) if value.dtype in FLOATS else value
