"""Two parts that make one value, of the original and of the new program, run side by side on values of our own."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from bnfold.verifier.local.probes import Impulses, Probes
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.crop import crop_of
from bnfold.verifier.programs.parts.cutting import Part
from bnfold.verifier.programs.parts.graph import Function, Node, ProgramGraph, Unreadable, Value
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
    """Two parts.

    Attributes:
        graphs: what they are cut out of.
        parts: they themselves.
        places: of what each begins with, in the list that both are fed with.
        changed: which of the new one's stored tensors the original part has not.
        seen: what the original had where they begin, as `ProgramGraph.observe` gives it.
        seed: of the values that they begin with.
        ends: where the new program holds other values.
    """

    graphs: tuple[ProgramGraph, ProgramGraph]
    parts: tuple[Part, Part]
    places: tuple[Sequence[int], Sequence[int]]
    changed: Sequence[bool]
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
        held = infer_held(
            comparator, ([([*probe.values.values()], probe.groups) for probe in probes] for probes in draws)
        )
        return None if held is None or held.changes_nothing else held

    def _compare(self, taken: bool | None, *, quick: bool) -> tuple[Finding, str]:
        comparator = self._comparator(taken)
        if self._crop.any_samples:
            with suppress(RuntimeError):  # too small after all
                return self._on_probes(comparator, self._crop, quick=quick)
        return self._on_probes(comparator, Crop(), quick=quick)

    def _on_probes(self, comparator: Comparator, crop: Crop, *, quick: bool) -> tuple[Finding, str]:
        """Random values and zeros; where numbers of narrow types have changed, single numbers as well."""
        seen = self._begin
        worst = Finding(0.0), ""
        for number, probe in enumerate(self._drawn.draws(seen, crop)):
            given = [probe.values[name] for name in seen]
            # Of zeros alone, one side may make nothing, and the other what is left where values cancel.
            found = comparator.compare(given, groups=probe.groups, quick=quick and number == 0)
            worst = max(worst, (found, probe.where), key=_excess)
            if _excess(worst) > 1:
                return worst
        free = {name: array for name, array in seen.items() if self._drawn.is_free(name, array) and array.size}
        for probe in self._drawn.impulses(free, crop, Impulses(narrow=True)) if self._shows_singles(comparator) else ():
            for height in (1, -1):
                given = [height * probe.values[name] if name in free else array for name, array in seen.items()]
                worst = max(worst, (comparator.compare_singles(given), probe.where), key=_excess)
            if _excess(worst) > 1:
                return worst
        return worst

    @property
    def _drawn(self) -> _Drawn:
        return _Drawn(self.seed)

    @cached_property
    def _begin(self) -> dict[str, Array]:
        """All arrays among what they begin with."""
        leaves = [leaf for leaf in pytree.tree_leaves(list(self.seen)) if isinstance(leaf, np.ndarray)]
        return {str(at): array for at, array in enumerate(leaves)}

    @cached_property
    def _crop(self) -> Crop:
        return crop_of(self._nodes, self.seen)

    @property
    def _nodes(self) -> list[Node]:
        return [node for part in self.parts for node in part.nodes]

    def _shows_singles(self, comparator: Comparator) -> bool:
        """Whether numbers of half precision have changed."""
        pairs = zip(comparator.changed, comparator.stored[1], strict=True)
        return any(changed and is_narrow(held) for changed, held in pairs)

    def _comparator(self, taken: bool | None) -> Comparator:
        """Both parts; which branch they take, or None for the one that they choose."""
        runs, stored = [], []
        ends = replace(self.ends, units=self._units)
        turns: tuple[tuple[Callable[[Subgraph], Subgraph], list[Array]], ...]
        turns = (ends.original, ends.numbers), (ends.new, ends.dials)
        for graph, part, places, (turn, numbers) in zip(self.graphs, self.parts, self.places, turns, strict=True):
            function = graph.function([*part.given, *part.stored], [part.target], part.nodes, taken=taken)
            runs.append(partial(_on_leaves, turn(partial(_run, function, places)), self.seen))
            stored.append([*(as_arrays(_as_read(value, part)) for value in part.stored), *numbers])
        changed = [*self.changed, *(True for _ in ends.dials)]
        return Comparator(
            runs[0], runs[1], (stored[0], stored[1]), changed, units=self._units, crossed=bool(ends.numbers)
        )

    @property
    def _units(self) -> float:
        """Half units of float32 by which numbers may be off.

        Those of a narrower type where a region computes in it; several where a map and its inverse meet in a number.
        """
        narrow = [torch.finfo(node.computes_in).eps for node in self._nodes if node.computes_in is not None]
        return max(narrow, default=_SINGLE * (_UNITS if self.ends.numbers else 1)) / _SINGLE


def _excess(found: tuple[Finding, str]) -> float:
    return found[0].excess


def _as_read(value: Value, part: Part) -> Any:  # noqa: ANN401 - a tensor, or what else is stored
    """What is stored, as all that read it have it: rounded to half precision first, if nobody sees more of it."""
    readers = {node.converts_to for node in part.nodes if value in node.operands}
    narrow = readers.pop() if len(readers) == 1 else None
    return value.tensor if narrow is None or value.tensor is None else value.tensor.to(narrow)


def _on_leaves(run: Subgraph, seen: Sequence[Any], given: Sequence[Array], stored: Sequence[Any]) -> Any:  # noqa: ANN401
    """Run with arrays in place of those that were seen. All that is no array stays what was seen."""
    leaves, structure = pytree.tree_flatten(list(seen))
    arrays = iter(given)
    fed = [next(arrays) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
    return run(pytree.tree_unflatten(fed, structure), stored)


def _run(function: Function, places: Sequence[int], fed: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401
    """Run a part on copies: it may write to what it is given."""
    beat()
    with torch.no_grad(), same_random_numbers():
        made = as_arrays(function([*(as_tensors(fed[place]) for place in places), *map(as_tensors, stored)])[0])
    if isinstance(made, (dict, list, tuple)) and any(isinstance(leaf, np.ndarray) for leaf in pytree.tree_leaves(made)):
        raise Unreadable("several tensors in one value, which are compared with the results")
    return made
