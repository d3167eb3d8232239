"""Shapes and types of all tensors in a graph, bodies of branches and loops included, seen by running it.

A TorchScript file says nothing of shapes. The program is run on example inputs, and again with other sizes of every
axis that it accepts: what changes has a name, what stays the same has a number. So no fold rests on a size that the
program does not insist on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from bnfold.frontends.torchscript.prepare import Prepared
from bnfold.frontends.torchscript.probe import Probe, Seen
from bnfold.rearrange import Dim

_NUMBERED_DTYPES = {
    dtype: number
    for number, dtype in enumerate(
        (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)
    )
} | {torch.bool: 11, torch.bfloat16: 15}
_DTYPES = {number: dtype for dtype, number in _NUMBERED_DTYPES.items()}


@dataclass(frozen=True)
class Form:
    """Shape and type of a tensor.

    Attributes:
        shape: a number for a size that never changed, a name for one that did; None where the rank changed.
        dtype: None where it is not one that bnfold knows.
    """

    shape: tuple[Dim, ...] | None
    dtype: torch.dtype | None


def observe(prepared: Prepared, examples: Sequence[Any]) -> dict[str, Form]:
    """What is known of the tensors in the graph and its bodies, by their names in it.

    Args:
        prepared: the program.
        examples: its arguments, without the module.

    Returns:
        Nothing at all where the program does not run on the examples.
    """
    probe = Probe(prepared)
    first = probe.run(examples)
    if first is None:
        return {}
    runs = [first]
    for varied in _variations(examples):
        seen = probe.run(varied)
        if seen is not None:
            runs.append(seen)
    forms = _Forms()
    return {
        name: forms.of([run.get(name, []) for run in runs]) for name in dict.fromkeys(n for run in runs for n in run)
    }


@dataclass
class _Forms:
    """Makes forms of what was seen: equal lengths in all runs get equal names."""

    _names: dict[object, str] = field(default_factory=dict)

    def of(self, runs: Sequence[Sequence[Seen]]) -> Form:
        """The form of one tensor.

        Args:
            runs: what was seen of it in each run: once, in every round of a loop, or not at all.
        """
        seen = [entry for run in runs for entry in run]
        dtypes = {entry.dtype for entry in seen}
        dtype = _DTYPES.get(dtypes.pop()) if len(dtypes) == 1 else None
        if len({len(entry.sizes) for entry in seen}) > 1:
            return Form(None, dtype)
        was_always_there = all(runs)
        axes = range(len(seen[0].sizes))
        lengths = [tuple(tuple(entry.sizes[axis] for entry in run) for run in runs) for axis in axes]
        return Form(tuple(self._length(axis, was_always_there) for axis in lengths), dtype)

    def _length(self, lengths: tuple[tuple[int, ...], ...], was_always_there: bool) -> Dim:
        """A number where it never changed. What was not seen in every run may change in those others."""
        different = {length for run in lengths for length in run}
        if was_always_there and len(different) == 1:
            return different.pop()
        key: object = lengths if was_always_there else object()
        return self._names.setdefault(key, f"size_{len(self._names)}")


def _variations(examples: Sequence[Any]) -> Iterator[list[Any]]:
    """The examples with one axis of one tensor, or of all tensors at once, at another size.

    Tensors in lists, tuples and dicts are varied like others.
    """
    leaves, spec = pytree.tree_flatten(list(examples))
    tensors = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    deepest = max((leaves[index].dim() for index in tensors), default=0)
    for axis in range(deepest):
        with_axis = [index for index in tensors if leaves[index].dim() > axis]
        choices = [[index] for index in with_axis] + ([with_axis] if len(with_axis) > 1 else [])
        for chosen in choices:
            varied = [_grown(leaf, axis) if index in chosen else leaf for index, leaf in enumerate(leaves)]
            yield list(pytree.tree_unflatten(varied, spec))


def _grown(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """The batch grows by one; other axes double, so that what must divide them still does."""
    added = tensor.narrow(axis, 0, 1) if axis == 0 else tensor
    return torch.cat([tensor, added], axis)
