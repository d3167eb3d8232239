"""Two parts that make one value, of the original and of the new program, run side by side on values of our own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from bnfold.pulse import beat
from bnfold.verifier.local.half_units import is_narrow
from bnfold.verifier.local.law import Comparator, Finding
from bnfold.verifier.programs.parts.cutting import Part
from bnfold.verifier.programs.parts.graph import Function, ProgramGraph, Unreadable, Value
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

        Args:
            quick: say no without looking further where the two are nowhere near.

        Raises:
            Exception: whatever torch raises where a part does not run in float64.
        """
        if bears_crop([node for part in self.parts for node in part.nodes], self.seen):
            try:
                found = self._comparator.compare(
                    cropped_probes(self.seen, seed=self.seed), groups=len(PROBES), quick=quick
                )
                return self._with_singles((found, PROBES[found.group][0]), crop=True)
            except RuntimeError:
                pass  # too small after all
        worst = Finding(0.0), ""
        for (name, _), values in zip(PROBES, probes(self.seen, seed=self.seed), strict=True):
            worst = max(worst, (self._comparator.compare(as_arrays(values), quick=quick), name), key=_excess)
            if _excess(worst) > 1:
                return worst
        return self._with_singles(worst, crop=False)

    def _with_singles(self, worst: tuple[Finding, str], *, crop: bool) -> tuple[Finding, str]:
        """Where numbers of narrow types have changed, look at each of them as well."""
        stored = self._comparator.stored[1]
        narrow = any(changed and is_narrow(held) for changed, held in zip(self.changed, stored, strict=True))
        kernel = max((max(held.shape[2:], default=1) for held in stored if np.ndim(held) > 2), default=1)
        for values in impulses(self.seen, crop=crop, kernel=kernel) if narrow else ():
            if _excess(worst) > 1:
                break
            worst = max(worst, (self._comparator.compare_singles(as_arrays(values)), "single values"), key=_excess)
        return worst

    @cached_property
    def _comparator(self) -> Comparator:
        runs, stored = [], []
        for graph, part, places in zip(self.graphs, self.parts, self.places, strict=True):
            function = graph.function([*part.given, *part.stored], [part.target], part.nodes)
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
