"""Faults at numbers of the folded model that the fold in question need not have written."""

from collections.abc import Callable

import numpy as np

from bnfold.outcome import Fold, Kept
from tests.faults.edits import NotHere, Wrong
from tests.faults.graphs import Node
from tests.faults.layouts import Parameters, read
from tests.faults.sites import Subject

_RECURRENCE = 2
_PADDED_WITH = 2


def recurrence_by_one_percent(subject: Subject, _target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
    """What one gate makes of the state is 1 % too large, in an LSTM, GRU or RNN."""
    chosen = _one_of(subject, random, _RECURRENCE, lambda node: node.proto.op_type in ("LSTM", "GRU", "RNN"))
    if chosen is None:
        return NotHere("no recurrent operator")
    values = _input(subject, chosen, _RECURRENCE)
    row = int(random.integers(values.shape[1]))
    values[:, row] *= 1.01
    return Wrong({}, f"R * 1.01 in row {row} of {chosen.label}", inputs={(chosen.position, _RECURRENCE): values})


def branch_by_one_percent(subject: Subject, _target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
    """One output channel of an operator in a branch, taken or not."""
    in_a_branch = [node for node in subject.folded.operators if node.scope.parent is not None]
    chosen = _one_of(subject, random, 1, lambda node: node in in_a_branch)
    if chosen is None:
        return NotHere("no operator with weights in a branch")
    values = _input(subject, chosen, 1)
    channel = int(random.integers(len(values)))
    values[channel] *= 1.01
    return Wrong({}, f"weight * 1.01 in row {channel} of {chosen.label}", inputs={(chosen.position, 1): values})


def padded_with_the_old_number(subject: Subject, _target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
    """A map has moved over a Pad, whose number stands on the other side of it."""
    pads = {node.proto.output[0]: node for node in subject.original.nodes if node.proto.op_type == "Pad"}

    def is_moved(node: Node) -> bool:
        old = pads.get(node.proto.output[0].removesuffix("_folded"))
        before = None if old is None else subject.original.constant(old.scope, old.input(_PADDED_WITH))
        return before is not None and not np.array_equal(before, _input(subject, node, _PADDED_WITH))

    chosen = _one_of(subject, random, _PADDED_WITH, lambda node: node.proto.op_type == "Pad" and is_moved(node))
    if chosen is None:
        return NotHere("no Pad whose number was changed")
    old = pads[chosen.proto.output[0].removesuffix("_folded")]
    values = subject.original.constant(old.scope, old.input(_PADDED_WITH))
    assert values is not None
    place = (chosen.position, _PADDED_WITH)
    return Wrong({}, f"the old number of {chosen.label}", inputs={place: values.astype(np.float64)})


def one_left_as_it_was(subject: Subject, _target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
    """An operator keeps its old numbers: of those that a map concerns, one has not taken it, or not its inverse."""
    pairs = list(zip(subject.original.operators, subject.folded.operators, strict=False))
    for index in random.permutation(len(pairs)):
        before, after = (
            read(graphs, node) for graphs, node in zip((subject.original, subject.folded), pairs[index], strict=True)
        )
        if isinstance(before, Parameters) and isinstance(after, Parameters) and _differ(before, after):
            return Wrong({int(index): before}, f"the old numbers of {pairs[index][1].label}")
    return NotHere("no operator with other numbers than before")


def _differ(before: Parameters, after: Parameters) -> bool:
    """In a bias that both have as well: elsewhere, one could not be written."""
    same_place = (before.bias is None) == (after.bias is None)
    alike = before.weight.shape == after.weight.shape
    return same_place and alike and not np.allclose(before.weight, after.weight, rtol=1e-3)


def _one_of(subject: Subject, random: np.random.Generator, slot: int, fits: Callable[[Node], bool]) -> Node | None:
    """One of the nodes whose input of this number is stored, and that fit."""
    graphs = subject.folded
    stored = [node for node in graphs.nodes if graphs.constant(node.scope, node.input(slot)) is not None]
    chosen = [node for node in stored if fits(node)]
    return chosen[int(random.integers(len(chosen)))] if chosen else None


def _input(subject: Subject, node: Node, slot: int) -> np.ndarray:
    values = subject.folded.constant(node.scope, node.input(slot))
    assert values is not None, (node.label, slot)
    return values.astype(np.float64)
