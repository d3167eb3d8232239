"""Calls in a row: what they give, under one name each, and what two programs gave side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from bnfold.verifier.programs.program import Call, TorchProgram
from bnfold.verifier.programs.tensors import same_values

Row: TypeAlias = Sequence[Sequence[Any]]
"""The leaves of the arguments of each call."""

CALLS = 3
"""In a row, of a program that changes its state."""


def side_by_side(
    original: TorchProgram, calls: Sequence[Call], new: TorchProgram, others: Sequence[Call]
) -> Iterator[tuple[str, object, object]]:
    """Everything that either program gave or changed: its name, and the values of both.

    What only one of them changed is what it was before in the other.

    Raises:
        KeyError: one of them changes a part of its state that the other does not have; its name.
    """
    ours, theirs = original.initial, new.initial
    for number, (call, other) in enumerate(zip(calls, others, strict=True)):
        for name, value in call.results.items():
            yield _named(name, number), value, other.results[name]
        for name in dict.fromkeys((*call.changed, *other.changed)):
            yield _named(name, number), _after(name, call, other, ours), _after(name, other, call, theirs)


def _after(name: str, call: Call, other: Call, state: Mapping[str, object]) -> object:
    if name in call.changed:
        return call.changed[name][1]
    return state[name] if name.startswith("state ") else other.changed[name][0]


def other_state(original: TorchProgram, new: TorchProgram, calls: Sequence[Call]) -> str:
    """The first part of its state that the original changes and the new program does not begin with, "" if none."""
    changed = [name for name in calls[-1].changed if name.startswith("state ")]
    if not changed:
        return ""
    ours, theirs = original.initial, new.initial
    return next((name for name in changed if name in ours and not same_values(ours[name], theirs.get(name))), "")


def _named(name: str, number: int) -> str:
    return name if number == 0 else f"{name} in call {number + 1}"
