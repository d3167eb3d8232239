"""Two parts that make one value, of the original and of the new program, run side by side on values of our own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import Crop
from bnfold.verifier.local.half_units import is_narrow
from bnfold.verifier.local.law import Comparator
from bnfold.verifier.local.probes import Impulses, Probes
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.programs.parts.crop import crop_of
from bnfold.verifier.programs.parts.cutting import Part
from bnfold.verifier.programs.parts.graph import Function, Node, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.program import same_random_numbers
from bnfold.verifier.programs.tensors import as_arrays, as_tensors

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
    """

    graphs: tuple[ProgramGraph, ProgramGraph]
    parts: tuple[Part, Part]
    places: tuple[Sequence[int], Sequence[int]]
    changed: Sequence[bool]
    seen: Sequence[Any]
    seed: int

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

    def _compare(self, taken: bool | None, *, quick: bool) -> tuple[Finding, str]:
        begin = [leaf for leaf in pytree.tree_leaves(list(self.seen)) if isinstance(leaf, np.ndarray)]
        crop = crop_of(self._nodes, self.seen)
        comparator = self._comparator(taken)
        if crop.any_samples:
            with suppress(RuntimeError):  # too small after all
                return self._on_probes(comparator, begin, crop, quick=quick)
            crop = Crop()
        return self._on_probes(comparator, begin, crop, quick=quick)

    def _on_probes(
        self, comparator: Comparator, begin: Sequence[Array], crop: Crop, *, quick: bool
    ) -> tuple[Finding, str]:
        """Random values and zeros; where numbers of narrow types have changed, single numbers as well."""
        probes, seen = _Drawn(self.seed), {str(at): array for at, array in enumerate(begin)}
        worst = Finding(0.0), ""
        for probe in probes.draws(seen, crop):
            given = [probe.values[name] for name in seen]
            found = comparator.compare(given, groups=probe.groups, quick=quick)
            worst = max(worst, (found, probe.where), key=_excess)
            if _excess(worst) > 1:
                return worst
        stored = zip(self.changed, comparator.stored[1], strict=True)
        shows_singles = any(changed and is_narrow(held) for changed, held in stored)
        free = {name: array for name, array in seen.items() if probes.is_free(name, array) and array.size}
        for probe in probes.impulses(free, crop, Impulses(narrow=True)) if shows_singles else ():
            for height in (1, -1):
                given = [height * probe.values[name] if name in free else array for name, array in seen.items()]
                worst = max(worst, (comparator.compare_singles(given), probe.where), key=_excess)
            if _excess(worst) > 1:
                return worst
        return worst

    @property
    def _nodes(self) -> list[Node]:
        return [node for part in self.parts for node in part.nodes]

    def _comparator(self, taken: bool | None) -> Comparator:
        """Both parts; which branch they take, or None for the one that they choose."""
        runs, stored = [], []
        for graph, part, places in zip(self.graphs, self.parts, self.places, strict=True):
            function = graph.function([*part.given, *part.stored], [part.target], part.nodes, taken=taken)
            runs.append(partial(_run, function, self.seen, places))
            stored.append([as_arrays(_as_read(value, part)) for value in part.stored])
        return Comparator(runs[0], runs[1], (stored[0], stored[1]), self.changed, units=self._units)

    @property
    def _units(self) -> float:
        """Half units of float32 by which numbers may be off: those of a narrower type where a region computes in it."""
        narrow = [torch.finfo(node.computes_in).eps for node in self._nodes if node.computes_in is not None]
        return max(narrow, default=_SINGLE) / _SINGLE


def _excess(found: tuple[Finding, str]) -> float:
    return found[0].excess


def _as_read(value: Value, part: Part) -> Any:  # noqa: ANN401 - a tensor, or what else is stored
    """What is stored, as all that read it have it: rounded to half precision first, if nobody sees more of it."""
    readers = {node.converts_to for node in part.nodes if value in node.operands}
    narrow = readers.pop() if len(readers) == 1 else None
    return value.tensor if narrow is None or value.tensor is None else value.tensor.to(narrow)


def _run(
    function: Function, seen: Sequence[Any], places: Sequence[int], given: Sequence[Any], stored: Sequence[Any]
) -> Any:  # noqa: ANN401 - whatever a part makes
    """Run a part on copies: it may write to what it is given. All that is no array stays what was seen."""
    beat()
    leaves, structure = pytree.tree_flatten(list(seen))
    arrays = iter(given)
    fed = pytree.tree_unflatten([next(arrays) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves], structure)
    with torch.no_grad(), same_random_numbers():
        made = as_arrays(function([*(as_tensors(fed[place]) for place in places), *map(as_tensors, stored)])[0])
    if isinstance(made, (dict, list, tuple)) and any(isinstance(leaf, np.ndarray) for leaf in pytree.tree_leaves(made)):
        raise Unreadable("several tensors in one value, which are compared with the results")
    return made
