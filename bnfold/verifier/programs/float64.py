"""The float64 reference of results in doubt: both programs as wholes, where only their stored numbers are rounded.

How far a program in its own precision is from itself in float64 is its own noise. A deep network may move by more than
that lets one expect, or by so much that nothing can be said. A result is the same for all that where

- it was found equal part by part (`bnfold.verifier.programs.parts`),
- in float64 it is no further from the original's than the ceiling of its type, and
- in its own precision the new program is as near to the original in float64 as the original in its own is, times the
  factor that any two roundings have; and the original is near enough for that to say something.

Slow: it is asked only in doubt.
"""

import math
from collections.abc import Callable, Collection, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch.utils import _pytree as pytree

from bnfold.errors import first_line
from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.tolerance import NOISE_FACTOR, RESEMBLES, Limits
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import as_arrays, as_tensors, comparable, named_leaves

Exact: TypeAlias = Callable[[Sequence[Any]], object]
"""A result in float64, of arguments in float64."""


@dataclass(frozen=True)
class InFloat64:
    """What float64 says of one result.

    Attributes:
        noise: how far the original is from itself in float64, as a Difference.error; where that is not known, infinite
            if the result was found equal part by part, and else None.
        doubt: why it does not show that the result is the same; "" where it does.
    """

    noise: float | None
    doubt: str


class Float64Reference:
    """Two programs in float64.

    Args:
        original: the one that is right.
        new: the other.
        equal: the results that were found equal part by part, as `ProgramGraph.results` calls them.
    """

    def __init__(self, original: TorchProgram, new: TorchProgram, equal: Set[str]) -> None:
        self._programs = original, new
        self._equal = equal

    @cached_property
    def _graphs(self) -> tuple[ProgramGraph, ProgramGraph]:
        original, new = self._programs
        return original.graph(), new.graph()

    def compare(
        self, name: str | None, leaves: Sequence[Any], values: tuple[object, object], limits: Limits
    ) -> InFloat64:
        """Ask of one result of a first call.

        Args:
            name: as a `Call` has it; None for one of a later call.
            leaves: of the arguments of the first call.
            values: of the original and of the new program, in their own precision.
            limits: of a result of its type.
        """
        own = None
        try:
            arguments = pytree.tree_map(wide, as_arrays(self._programs[0].arguments(leaves)))
            exact, folded = (_exact(graph, name) for graph in self._graphs)
            expected = exact(arguments)
            own = _error(expected, values[0])
            if not self._is_equal(name):
                return InFloat64(own, "it was not found equal part by part in float64")
            apart, new = _error(expected, folded(arguments)), _error(expected, values[1])
            return InFloat64(own, _doubt(apart, own, new, limits))
        except Exception as error:  # whatever torch raises where a program does not run in float64
            if own is None and self._is_equal(name):
                own = math.inf
            return InFloat64(own, f"float64 has no word: {first_line(error)[:200]}")

    def _is_equal(self, name: str | None) -> bool:
        """Whether a result was found equal part by part; one of a later call is, where all that a call makes are."""
        with suppress(Unreadable):
            results = self._graphs[0].results
            made = [_holder(results, name)] if name is not None else list(results)
            return bool(made) and self._equal >= set(made)
        return False


def _holder(results: Collection[str], name: str) -> str:
    """What holds a result, or is it: "output.0" of "output.0.boxes"."""
    holder = name
    while holder not in results:
        holder = holder.rpartition(".")[0]
        if not holder:
            raise Unreadable(f"it is not known how {name!r} is made")
    return holder


def _exact(graph: ProgramGraph, name: str | None) -> Exact:
    """A result of one program as a function of its arguments.

    Raises:
        Unreadable: it is not known how the program makes it, or it draws random numbers.
    """
    if name is None:
        raise Unreadable("it belongs to a later call")
    holder = _holder(graph.results, name)
    part = graph.part(graph.results[holder], lambda _: False)
    if any(node.is_random for node in part.nodes):
        raise Unreadable("random numbers are others in float64")
    function = graph.function(part)
    stored = [wide(as_arrays(value.tensor)) for value in part.stored]

    def run(arguments: Sequence[Any]) -> object:
        beat()
        given = dict(zip(graph.inputs, arguments, strict=True))
        with torch.no_grad():
            made = function(as_tensors([*(given[value] for value in part.given), *stored]))
        return comparable(named_leaves(made, holder)[name])

    return run


def _doubt(apart: float, own: float, new: float, limits: Limits) -> str:
    """Of how far both are apart in float64, and how far from the original there each is in its own precision."""
    if not apart <= limits.ceiling:
        return f"in float64, it differs by {apart:.2g} of max |a|"
    if not own <= RESEMBLES:
        return f"the original is {own:.2g} of max |a| off what it is in float64"
    if not new <= max(limits.floor, NOISE_FACTOR * own):
        return f"it is {new:.2g} of max |a| off what it is in float64, and the original {own:.2g}"
    return ""


def _error(exact: object, value: object) -> float:
    """The largest difference, in units of what `compare.arrays` takes; infinite where there is more to it."""
    found = differences(exact, wide(value))
    return max((math.inf if entry.problem else entry.error for entry in found), default=0.0)
