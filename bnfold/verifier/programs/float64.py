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
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils import _pytree as pytree

from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS, Array, differences
from bnfold.verifier.compare.tolerance import NOISE_FACTOR, RESEMBLES, Limits
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.programs.parts.cutting import Cutter
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable, Value
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
        self._original = original
        self._new = new
        self._equal = equal

    @cached_property
    def _graphs(self) -> tuple[ProgramGraph, ProgramGraph]:
        return self._original.graph(), self._new.graph()

    def compare(
        self, name: str, names: Sequence[str], leaves: Sequence[Any], values: tuple[object, object], limits: Limits
    ) -> InFloat64:
        """Ask of one result of a first call.

        Args:
            name: of what the call returned, or of the state or the input that it left.
            names: of all that it returned.
            leaves: of its arguments.
            values: of the original and of the new program, in their own precision.
            limits: of a result of its type.
        """
        own = None
        try:
            arguments = pytree.tree_map(wide, as_arrays(self._original.arguments(leaves)))
            exact, folded = (_exact(graph, name, names) for graph in self._graphs)
            expected = exact(arguments)
            own = _error(expected, values[0])
            if not self._is_equal(name, names):
                return InFloat64(own, "it was not found equal part by part in float64")
            apart, new = _error(expected, folded(arguments)), _error(expected, values[1])
            return InFloat64(own, _doubt(apart, own, new, limits))
        except Exception as error:  # whatever torch raises where a program does not run in float64
            lines = str(error).strip().splitlines()
            if own is None and self._is_equal(name, names):
                own = math.inf
            return InFloat64(own, f"float64 has no word: {lines[-1][:200] if lines else type(error).__name__}")

    def _is_equal(self, name: str, names: Sequence[str]) -> bool:
        """Whether a result was found equal part by part; one of a later call is, where all that a call makes are."""
        if not self._equal:
            return False
        graph, _ = self._graphs
        try:
            return _result(graph, name, names) in self._equal
        except Unreadable:
            return bool(graph.results) and self._equal >= graph.results.keys()


def _result(graph: ProgramGraph, name: str, names: Sequence[str]) -> str:
    """What a graph calls a result: of a script all that it returns is one value, or each result has its own."""
    if name not in names:
        found = name if name in graph.results else ""
    else:
        outputs = [path for path in graph.results if path.startswith("output ")]
        of_its_own = len(outputs) == len(names)
        found = outputs[names.index(name)] if of_its_own else outputs[0] if len(outputs) == 1 else ""
    if not found:
        raise Unreadable(f"it is not known how {name!r} is made")
    return found


def _exact(graph: ProgramGraph, name: str, names: Sequence[str]) -> Exact:
    """A result of one program as a function of its arguments.

    Raises:
        Unreadable: it is not known how the program makes it, or it draws random numbers.
    """
    target: Value = graph.results[_result(graph, name, names)]
    part = Cutter(graph).cut(target, ())
    if any(node.is_random for node in part.nodes):
        raise Unreadable("random numbers are others in float64")
    function = graph.function([*graph.inputs, *part.stored], [target], part.nodes)
    stored = [wide(as_arrays(value.tensor)) for value in part.stored]

    def run(arguments: Sequence[Any]) -> object:
        beat()
        with torch.no_grad():
            leaves = named_leaves(function(as_tensors([*arguments, *stored]))[0])
        return comparable(next(iter(leaves.values())) if len(leaves) == 1 else leaves[name])

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
    found = differences(exact, _in_float64(value))
    return max((np.inf if entry.problem else entry.error for entry in found), default=0.0)


def _in_float64(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    array: Array = value.astype(np.float64) if value.dtype in FLOATS else value
    return array
