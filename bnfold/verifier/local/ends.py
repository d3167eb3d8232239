"""Where two parts begin and end, if the new one holds other values there: y, for the original's x of them.

Both are given y where they begin, and asked for y where they end. A map was inferred from numbers that had been
rounded. Where a part ends, it is what was measured there, so nothing is off; where one begins, it may be off by what
rounding moves it: so much it moves when the new part's stored numbers do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from bnfold.verifier.local.law import Subgraph
from bnfold.verifier.models.held import Array, Held, Map

HALF_UNIT = 2.0**-24
"""Of numbers from 1 to 2 in float32."""


@dataclass(frozen=True)
class Ends:
    """What the new program holds there.

    Attributes:
        begins: by the place of the value in what both parts are given.
        end: of what they make; None where that is the original's.
        units: half units by which the law moves a stored number of float32.
    """

    begins: Mapping[int, Held]
    end: Held | None = None
    units: float = 1.0

    @cached_property
    def dials(self) -> list[Array]:
        """Stored numbers by which the maps are moved: one step for as far as a number may be off."""
        rng = np.random.default_rng(0)
        shapes = chain.from_iterable((held.map.scale.shape, held.map.shift.shape) for held in self._all)
        return [rng.uniform(1, 2, shape).astype(np.float32) for shape in shapes]

    @property
    def numbers(self) -> list[Array]:
        """Those of the maps: to the original's part, stored numbers like others."""
        return list(chain.from_iterable((held.map.scale, held.map.shift) for held in self._all))

    def as_new_has(self, given: Sequence[Array]) -> list[Array]:
        """Values of the original, as those that the new model has in their place."""
        return _with(given, {at: held.map.new(given[at]) for at, held in self.begins.items()})

    def original(self, run: Subgraph) -> Subgraph:
        """The original's part, in terms of y, behind whose stored numbers those of the maps stand."""

        def turned(given: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever a part makes
            own, numbers = self._apart(stored)
            maps = [Map(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
            pairs = zip(self.begins.items(), maps, strict=False)
            begin = {at: held.original(given[at], entry) for (at, held), entry in pairs}
            made = run(_with(given, begin), own)
            return made if self.end is None else self.end.new(made, maps[-1])

        return turned

    def new(self, run: Subgraph) -> Subgraph:
        """The new program's part, behind whose stored numbers the dials stand."""

        def turned(given: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever a part makes
            own, dials = self._apart(stored)
            moved = list(self._moved(dials))
            pairs = zip(self.begins.items(), moved, strict=False)
            begin = {at: held.map.exchanged(held.possible(given[at]), to) for (at, held), to in pairs}
            made = run(_with(given, begin), own)
            if self.end is None:
                return made
            return np.where(self.end.map.is_free, moved[-1].shift, moved[-1].exchanged(made, self.end.map))

        return turned

    @property
    def _all(self) -> list[Held]:
        return [*self.begins.values(), *([] if self.end is None else [self.end])]

    def _apart(self, stored: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Array]]:
        """What a part has stored, and two arrays for each map."""
        count = len(stored) - 2 * len(self._all)
        return stored[:count], stored[count:]

    def _moved(self, dials: Sequence[Array]) -> Iterator[Map]:
        """The maps, moved by what the dials say."""
        steps = ((now - dial) / (self.units * HALF_UNIT) for now, dial in zip(dials, self.dials, strict=True))
        for held, scale, shift in zip(self._all, steps, steps, strict=True):
            yield held.moved(held.slack if held is self.end else held.step, scale, shift)


def _with(given: Sequence[Any], others: Mapping[int, Array]) -> list[Any]:
    return [others.get(at, value) for at, value in enumerate(given)]
