"""Two parts that make one value, of the original and of the new program, run side by side on values of our own."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import Crop
from bnfold.verifier.local.ends import Ends
from bnfold.verifier.local.half_units import is_narrow
from bnfold.verifier.local.inferred import infer_held
from bnfold.verifier.local.law import Comparator, Subgraph
from bnfold.verifier.local.probes import Impulses, Probe, Probes
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.crop import crop_of
from bnfold.verifier.programs.parts.graph import Node, Part, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.known import Parts
from bnfold.verifier.programs.program import same_random_numbers
from bnfold.verifier.programs.tensors import as_arrays, as_tensors

_UNITS = 2
"""Half units by which numbers between maps may be off: a map and its inverse meet in them, and each was rounded."""
_SINGLE = torch.finfo(torch.float32).eps


class _Drawn(Probes):
    """All floating-point arrays that have an axis: nothing says of programs that vectors are sizes."""

    def is_free(self, name: str, values: Array) -> bool:  # noqa: ARG002
        """See Probes."""
        return values.dtype in FLOATS and values.ndim > 0


@dataclass(frozen=True)
class PartPair:
    """Two parts, ready to run.

    Attributes:
        graphs: what they are cut out of.
        parts: they themselves.
        seen: what the original had where they begin, as `ProgramGraph.observe` gives it.
        seed: of the values that they begin with.
        ends: where the new program holds other values.
    """

    graphs: tuple[ProgramGraph, ProgramGraph]
    parts: Parts
    seen: Sequence[Any]
    seed: int
    ends: Ends

    def compare(self, *, quick: bool) -> tuple[Finding, str]:
        """The worst of all probes, or the first that is wrong, and what it was fed with.

        Parts with branches are run with each of them in turn as well: none of our values may take one.

        Args:
            quick: say no without looking further where the two are nowhere near.

        Raises:
            Exception: whatever torch raises where a part does not run in float64.
        """
        worst = self._compare(None, quick=quick)
        for taken in (True, False) if any(node.chooses for node in self._nodes) else ():
            if _excess(worst) <= 1:
                with suppress(Exception):  # code behind a choice may not run on values that do not choose it
                    worst = max(worst, self._compare(taken, quick=quick), key=_excess)
        return worst

    def infer_end(self) -> Held | None:
        """What the new program seems to hold where they end, if other values than the original; None where it does not.

        Nothing is inferred in half precision: what was rounded to so few digits says nothing of single numbers.

        Raises:
            Exception: as those of `compare`.
        """
        comparator = self._comparator(None)
        if self._shows_singles(comparator):
            return None
        draws = (drawn.draws(self._begin, self._crop) for drawn in self._drawn.further())
        held = infer_held(comparator, ([(_given(probe), probe.groups) for probe in probes] for probes in draws))
        return None if held is None or held.changes_nothing else held

    def _compare(self, taken: bool | None, *, quick: bool) -> tuple[Finding, str]:
        comparator = self._comparator(taken)
        if self._crop.any_samples:
            with suppress(RuntimeError):  # too small after all
                return self._on_probes(comparator, self._crop, quick=quick)
        return self._on_probes(comparator, Crop(), quick=quick)

    def _on_probes(self, comparator: Comparator, crop: Crop, *, quick: bool) -> tuple[Finding, str]:
        """The worst of all probes, or the first that is wrong."""
        worst = Finding(0.0), ""
        for found in self._findings(comparator, crop, quick=quick):
            worst = max(worst, found, key=_excess)
            if _excess(worst) > 1:
                break
        return worst

    def _findings(self, comparator: Comparator, crop: Crop, *, quick: bool) -> Iterator[tuple[Finding, str]]:
        """On random values and zeros; where numbers of narrow types have changed, on single numbers as well."""
        for number, probe in enumerate(self._drawn.draws(self._begin, crop)):
            # Of zeros alone, one side may make nothing, and the other what is left where values cancel.
            quickly = quick and number == 0
            yield comparator.compare(_given(probe), groups=probe.groups, quick=quickly), probe.where
        if self._shows_singles(comparator):
            for probe in self._drawn.impulses(self._begin, crop, Impulses(narrow=True, sides=(1, -1))):
                yield comparator.compare_singles(_given(probe)), probe.where

    @property
    def _drawn(self) -> _Drawn:
        return _Drawn(self.seed)

    @cached_property
    def _begin(self) -> dict[str, Array]:
        """All arrays among what they begin with."""
        arrays = filter(_is_array, pytree.tree_leaves(list(self.seen)))
        return {str(at): array for at, array in enumerate(arrays)}

    @cached_property
    def _crop(self) -> Crop:
        return crop_of(self._nodes, self.seen)

    @property
    def _nodes(self) -> list[Node]:
        return [*self.parts.ours.nodes, *self.parts.theirs.nodes]

    def _shows_singles(self, comparator: Comparator) -> bool:
        """Whether numbers of half precision have changed."""
        pairs = zip(comparator.changed, comparator.stored[1], strict=True)
        return any(changed and is_narrow(held) for changed, held in pairs)

    def _comparator(self, taken: bool | None) -> Comparator:
        """Both parts; which branch they take, or None for the one that they choose."""
        ends = replace(self.ends, units=self._units)
        (original, own), (new, theirs) = self._side(0, taken), self._side(1, taken)
        return Comparator(
            self._on_leaves(ends.original(original)),
            self._on_leaves(ends.new(new)),
            ([*own, *ends.numbers], [*theirs, *ends.dials]),
            [*self.parts.changed, *(True for _ in ends.dials)],
            units=self._units,
            crossed=bool(ends.numbers),
        )

    def _side(self, side: int, taken: bool | None) -> tuple[Subgraph, list[Any]]:
        """The original part, or the new one, to be run on copies of values; and what it has stored."""
        part, places = (self.parts.ours, self.parts.theirs)[side], self.parts.places[side]
        function = self.graphs[side].function(part, taken=taken)

        def run(fed: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever a part makes
            beat()
            with torch.no_grad(), same_random_numbers():
                made = as_arrays(function(as_tensors([*(fed[place] for place in places), *stored])))
            if not isinstance(made, np.ndarray) and any(map(_is_array, pytree.tree_leaves(made))):
                raise Unreadable("several tensors in one value, which are compared with the results")
            return made

        return run, [as_arrays(_as_read(value, part)) for value in part.stored]

    def _on_leaves(self, run: Subgraph) -> Subgraph:
        """Run with arrays in place of those that were seen. All that is no array stays what was seen."""
        leaves, structure = pytree.tree_flatten(list(self.seen))

        def on_leaves(given: Sequence[Array], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever a part makes
            arrays = iter(given)
            fed = [next(arrays) if _is_array(leaf) else leaf for leaf in leaves]
            return run(pytree.tree_unflatten(fed, structure), stored)

        return on_leaves

    @property
    def _units(self) -> float:
        """Half units of float32 by which numbers may be off.

        Those of a narrower type where a region computes in it; several where a map and its inverse meet in a number.
        """
        narrow = [torch.finfo(node.computes_in).eps for node in self._nodes if node.computes_in is not None]
        return max(narrow, default=_SINGLE * (_UNITS if self.ends.numbers else 1)) / _SINGLE


def _given(probe: Probe) -> list[Array]:
    """In the order of what was seen."""
    return [probe.values[str(at)] for at in range(len(probe.values))]


def _excess(found: tuple[Finding, str]) -> float:
    return found[0].excess


def _as_read(value: Value, part: Part) -> Any:  # noqa: ANN401 - a tensor, or what else is stored
    """What is stored, as all that read it have it: rounded to half precision first, if nobody sees more of it."""
    readers = {node.converts_to for node in part.nodes if value in node.operands}
    narrow = readers.pop() if len(readers) == 1 else None
    return value.tensor if narrow is None or value.tensor is None else value.tensor.to(narrow)


def _is_array(held: object) -> bool:
    return isinstance(held, np.ndarray)
