"""The last word on results in doubt: both programs in float64, where nothing but their stored numbers is rounded.

In its own precision, a deep network may move by more than its noise lets one expect, or by so much that nothing can be
said. In float64 only the numbers that a fold has stored anew part it from its original, by half a unit of their last
place each. So a result is the same where

- the new program in float64 is as near to the original in float64 as such roundings bring it
  (`bnfold.verifier.local.law`), and in no case further than the ceiling of its type, and
- the new program in its own precision is as near to the original in float64 as the original in its own is, times the
  factor that any two roundings have; and the original is near enough for that to say something.

Slow: it is asked only in doubt.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS, Array, differences
from bnfold.verifier.compare.tolerance import NOISE_FACTOR, Limits
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.local.law import Comparator
from bnfold.verifier.programs.parts.cutting import Cutter
from bnfold.verifier.programs.parts.graph import Function, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.matching import content
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import as_arrays, as_tensors, comparable, named_leaves

_RESEMBLES = 0.05
"""Of max |a|: further from what it is in float64, a result is noise, and so is whatever is compared with it."""


class Truth:
    """Two programs in float64.

    Args:
        original: the one that is right.
        new: the other.
    """

    def __init__(self, original: TorchProgram, new: TorchProgram) -> None:
        self._original = original
        self._new = new

    @cached_property
    def _graphs(self) -> tuple[ProgramGraph, ProgramGraph]:
        return self._original.graph(), self._new.graph()

    def doubt(
        self, name: str, names: Sequence[str], leaves: Sequence[Any], values: tuple[object, object], limits: Limits
    ) -> str:
        """Why float64 does not show that one result of a first call is the same; "" where it does.

        Args:
            name: of what the call returned, or of the state or the input that it left.
            names: of all that it returned.
            leaves: of its arguments.
            values: of the original and of the new program, in their own precision.
            limits: of a result of its type.
        """
        try:
            ours, theirs = (_Made.by(graph, name, names) for graph in self._graphs)
            arguments = pytree.tree_map(wide, as_arrays(self._original.arguments(leaves)))
            return _doubt(ours, theirs, arguments, values, limits)
        except Exception as error:  # whatever torch raises where a program does not run in float64
            lines = str(error).strip().splitlines()
            return f"float64 has no word: {lines[-1][:200] if lines else type(error).__name__}"


@dataclass(frozen=True)
class _Made:
    """A result of one program, as a function of its arguments and of what is stored.

    Attributes:
        name: of the result.
        stored: the parameters, buffers and constants that it is made of.
        contents: of each of them.
        function: of the arguments and the stored tensors.
    """

    name: str
    stored: Sequence[Any]
    contents: Sequence[Hashable]
    function: Function

    @classmethod
    def by(cls, graph: ProgramGraph, name: str, names: Sequence[str]) -> "_Made":
        """A result by the name that calls give it.

        Raises:
            Unreadable: it is not known how the program makes it, or it draws random numbers.
        """
        target = _target(graph, name, names)
        part = Cutter(graph).cut(target, ())
        if any(node.is_random for node in part.nodes):
            raise Unreadable("random numbers are others in float64")
        function = graph.function([*graph.inputs, *part.stored], [target], part.nodes)
        held = [value.tensor for value in part.stored]
        contents = [content(tensor) for tensor in held if tensor is not None]
        return cls(name, as_arrays(held), contents, function)

    def run(self, arguments: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - an array or a number
        """Run on copies: a program may write to what it is given."""
        return as_arrays(self._run(arguments, stored))

    def exact(self, arguments: Sequence[Any]) -> object:
        """What it is in float64."""
        return comparable(self._run(arguments, [wide(held) for held in self.stored]))

    def _run(self, arguments: Sequence[Any], stored: Sequence[Any]) -> Any:  # noqa: ANN401 - a tensor or a number
        beat()
        with torch.no_grad():
            leaves = named_leaves(self.function(as_tensors([*arguments, *stored]))[0])
        return next(iter(leaves.values())) if len(leaves) == 1 else leaves[self.name]


def _target(graph: ProgramGraph, name: str, names: Sequence[str]) -> Value:
    """What stands for a result: of a script all that it returns is one value, or each result has its own."""
    if name not in names:
        kind, _, rest = name.partition(" ")
        found = graph.results.get(name) or (graph.results.get(f"state {rest}") if kind == "input" else None)
    else:
        outputs = [value for path, value in graph.results.items() if path.startswith("output ")]
        of_its_own = len(outputs) == len(names)
        found = outputs[names.index(name)] if of_its_own else outputs[0] if len(outputs) == 1 else None
    if found is None:
        raise Unreadable(f"it is not known how {name!r} is made")
    return found


def _doubt(ours: _Made, theirs: _Made, arguments: Sequence[Any], values: tuple[object, object], limits: Limits) -> str:
    truth, folded = ours.exact(arguments), theirs.exact(arguments)
    apart = _error(truth, folded)
    if not apart <= limits.ceiling:
        return f"in float64, it differs by {apart:.2g} of max |a|"
    changed = [held not in ours.contents for held in theirs.contents]
    finding = Comparator(ours.run, theirs.run, (ours.stored, theirs.stored), changed).compare(arguments)
    if not finding.excess <= 1:
        return f"in float64, it differs by {apart:.2g} of max |a|, {finding.excess:.3g} times what rounding explains"
    own, new = (_error(truth, value) for value in values)
    if not own <= _RESEMBLES:
        return f"the original is {own:.2g} of max |a| off what it is in float64"
    if not new <= max(limits.floor, NOISE_FACTOR * own):
        return f"it is {new:.2g} of max |a| off what it is in float64, and the original {own:.2g}"
    return ""


def _error(truth: object, value: object) -> float:
    """The largest difference, in units of what `compare.arrays` takes; infinite where there is more to it."""
    found = differences(truth, _in_float64(value))
    return max((np.inf if entry.problem else entry.error for entry in found), default=0.0)


def _in_float64(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    array: Array = value.astype(np.float64) if value.dtype in FLOATS else value
    return array
