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
from bnfold.verifier.local.half_units import is_narrow
from bnfold.verifier.local.law import Comparator
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.programs.parts.cutting import Part
from bnfold.verifier.programs.parts.graph import Function, Node, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.probes import PROBES, bears_crop, cropped_probes, impulses, probes
from bnfold.verifier.programs.program import same_random_numbers
from bnfold.verifier.programs.tensors import as_arrays, as_tensors


@dataclass(frozen=True)
class PartPair:
    """Two parts.

    Attributes:
        graphs: what they are cut out of.
        parts: they themselves.
        places: of what each begins with, in the list that both are fed with.
        changed: which of the new one's stored tensors the original part has not.
        seen: what the original had where they begin, tensors of floating-point numbers without their memory.
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
        worst = self._compare(self._comparator(None), quick=quick)
        for taken in (True, False) if any(node.chooses for node in self._nodes) else ():
            if _excess(worst) <= 1:
                with suppress(Exception):  # code behind a choice may not run on values that do not choose it
                    worst = max(worst, self._compare(self._comparator(taken), quick=quick), key=_excess)
        return worst

    def _compare(self, comparator: Comparator, *, quick: bool) -> tuple[Finding, str]:
        if bears_crop(self._nodes, self.seen):
            try:
                found = comparator.compare(cropped_probes(self.seen, seed=self.seed), groups=len(PROBES), quick=quick)
                return self._with_singles(comparator, (found, PROBES[found.group][0]), crop=True)
            except RuntimeError:
                pass  # too small after all
        worst = Finding(0.0), ""
        for (name, _), values in zip(PROBES, probes(self.seen, seed=self.seed), strict=True):
            worst = max(worst, (comparator.compare(as_arrays(values), quick=quick), name), key=_excess)
            if _excess(worst) > 1:
                return worst
        return self._with_singles(comparator, worst, crop=False)

    def _with_singles(self, comparator: Comparator, worst: tuple[Finding, str], *, crop: bool) -> tuple[Finding, str]:
        """Where numbers of narrow types have changed, look at each of them as well."""
        stored = comparator.stored[1]
        narrow = any(changed and is_narrow(held) for changed, held in zip(self.changed, stored, strict=True))
        kernel = max((max(held.shape[2:], default=1) for held in stored if np.ndim(held) > 2), default=1)
        for values in impulses(self.seen, crop=crop, kernel=kernel) if narrow else ():
            if _excess(worst) > 1:
                break
            worst = max(worst, (comparator.compare_singles(as_arrays(values)), "single values"), key=_excess)
        return worst

    @property
    def _nodes(self) -> list[Node]:
        return [node for part in self.parts for node in part.nodes]

    def _comparator(self, taken: bool | None) -> Comparator:
        """Both parts; which branch they take, or None for the one that they choose."""
        runs, stored = [], []
        for graph, part, places in zip(self.graphs, self.parts, self.places, strict=True):
            function = graph.function([*part.given, *part.stored], [part.target], part.nodes, taken=taken)
            runs.append(partial(_run, function, places))
            stored.append([as_arrays(_as_read(value, part)) for value in part.stored])
        return Comparator(runs[0], runs[1], (stored[0], stored[1]), self.changed)


def _excess(found: tuple[Finding, str]) -> float:
    return found[0].excess


def _as_read(value: Value, part: Part) -> Any:  # noqa: ANN401 - a tensor, or what else is stored
    """What is stored, as all that read it have it: rounded to half precision first, if nobody sees more of it."""
    readers = {node.converts_to for node in part.nodes if value in node.operands}
    if len(readers) != 1 or not isinstance(value.tensor, torch.Tensor):
        return value.tensor
    (narrow,) = readers
    return value.tensor if narrow is None else value.tensor.to(narrow)


def _run(function: Function, places: Sequence[int], given: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401
    """Run a part on copies: it may write to what it is given."""
    beat()
    with torch.no_grad(), same_random_numbers():
        made = as_arrays(function([*(as_tensors(given[place]) for place in places), *map(as_tensors, stored)])[0])
    if isinstance(made, (dict, list, tuple)) and any(isinstance(leaf, np.ndarray) for leaf in pytree.tree_leaves(made)):
        raise Unreadable("several tensors in one value, which are compared with the results")
    return made
