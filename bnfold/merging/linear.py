"""What a branch computes: its operators, one after the other, as one contraction or one map."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Generic

import numpy as np

from bnfold.affine import Affine, identity
from bnfold.errors import InternalError
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.merging.branches import Branch
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal
from bnfold.rules import Moved, chain_contractions, pull, push, read_map_as_contraction, refuse
from bnfold.rules.merge import chained_size, multiply_adds
from bnfold.semantics import AffineMap, Contraction, Meaning, Opaque


@dataclass(frozen=True, eq=False)
class Linear(Generic[N, V]):
    """A branch, computed.

    Attributes:
        branch: the way.
        meaning: what its operators amount to, without its sign: a map where none of them has a kernel, None where
            there are no operators.
        host: the operator that can take another weight, with what it means now; None where there is none.
        weights: the contractions among its operators.
        maps: its operators that are affine maps, and go where they merge.
        multiply_adds: for one place of what it makes, over all channels.
    """

    branch: Branch[N, V]
    meaning: Contraction | Affine | None
    host: tuple[N, Contraction] | None
    weights: tuple[Contraction, ...]
    maps: tuple[N, ...]
    multiply_adds: int

    @property
    def parameters(self) -> int:
        """How many numbers its weights hold."""
        return sum(map(multiply_adds, self.weights))

    def beside(self, other: "Linear[N, V]") -> Contraction | Refusal:
        """The same with its sign, as a contraction that can stand beside another branch, which has a kernel."""
        meaning, like = self.meaning, other.meaning
        if not isinstance(like, Contraction):
            raise InternalError("a branch without a kernel was to be the measure of others")
        turns, theirs = self.branch.turns, other.branch.turns
        if not isinstance(meaning, Contraction):
            affine = meaning or identity(like.output_rank)
            if turns == (None, None) != theirs and _undone(*theirs):
                affine, turns = _turned(affine, theirs[0]), theirs
            found = read_map_as_contraction(affine, like)
            if isinstance(found, Refusal):
                return found
            meaning = found
        if turns != theirs:
            return Refusal(Reason.BRANCHES_DIFFER, "branches differ in the order of the axes around them")
        return meaning if self.branch.sign == 1.0 else times(meaning, self.branch.sign)


def compute(
    port: GraphPort[N, V, E], meanings: Meanings[N, V, E], branch: Branch[N, V], *, affine_nodes: bool
) -> Linear[N, V] | Refusal:
    """What a branch amounts to, or which of its operators cannot be part of one.

    Args:
        port: the graph.
        meanings: what its nodes mean.
        branch: a way through it.
        affine_nodes: let Mul, Add, Sub and Div by constants be part of it, not BatchNorms alone.
    """
    meaning: Contraction | Affine | None = None
    kernels: list[Contraction] = []
    weights: list[tuple[N, Contraction]] = []
    maps: list[N] = []
    for node in branch.steps:
        step = meanings(node)
        stays = port.why_it_stays(node)
        if stays is None and isinstance(step, AffineMap) and not (affine_nodes or node.is_batch_norm):
            stays = Refusal(Reason.EXCLUDED, "only BatchNorms were to be folded")
        if stays is not None:
            return stays.along(Label(node.label, node.op))
        if isinstance(step, Contraction):
            weights.append((node, step))
        elif isinstance(step, AffineMap):
            maps.append(node)
        else:
            step = port.average(node, meaning if isinstance(meaning, Contraction) else None) or step
        if isinstance(step, Contraction):
            kernels.append(step)
        after = _then(meaning, step)
        if isinstance(after, Refusal):
            return after.along(Label(node.label, node.op))
        meaning = after
    return Linear(
        branch,
        meaning,
        _host(weights, meaning),
        tuple(weight for _, weight in weights),
        tuple(maps),
        _multiply_adds(kernels, [weight for _, weight in weights]),
    )


def grows(first: Contraction, second: Contraction) -> bool:
    """Whether one operator in place of two in a row would take more multiply-adds, known without their product."""
    return first.weight.ndim == second.weight.ndim and chained_size(first, second) > _multiply_adds(
        [first, second], [first, second]
    )


def _undone(before: tuple[int, ...] | None, behind: tuple[int, ...] | None) -> bool:
    """Whether the second order of axes takes the first back."""
    if before is None or behind is None or len(before) != len(behind):
        return False
    return all(before[axis] == place for place, axis in enumerate(behind))


def _turned(affine: Affine, permutation: tuple[int, ...] | None) -> Affine:
    if permutation is None or affine.rank != len(permutation):
        return affine
    return Affine(np.transpose(affine.scale, permutation), np.transpose(affine.shift, permutation))


def times(node: Contraction, factor: float) -> Contraction | Refusal:
    """The same, multiplied by a number."""
    shape = (1,) * node.output_rank
    return _contraction(pull(node, {0: Affine(np.full(shape, factor), np.zeros(shape))}))


def _then(meaning: Contraction | Affine | None, step: Meaning) -> Contraction | Affine | Refusal:
    """What is computed so far, with one more operator behind it."""
    match meaning, step:
        case _, Opaque():
            return refuse(step)
        case None, Contraction():
            return step
        case None, AffineMap():
            return step.affine
        case Affine(), AffineMap():
            return meaning.then(step.affine)
        case Affine(), Contraction():
            return _contraction(push(step, {step.source: meaning}))
        case Contraction(), AffineMap():
            return _contraction(pull(meaning, {0: step.affine}))
        case Contraction(), Contraction():
            return chain_contractions(meaning, step)
    return Refusal(Reason.NOT_LINEAR, "it is neither a kernel nor a scale and a shift")


def _contraction(moved: Moved | Refusal) -> Contraction | Refusal:
    if isinstance(moved, Refusal):
        return moved
    if isinstance(moved.meaning, Contraction):
        return moved.meaning
    return Refusal(Reason.NOT_LINEAR, "a map went through it, and not into it")


def _host(
    weights: Sequence[tuple[N, Contraction]], meaning: Contraction | Affine | None
) -> tuple[N, Contraction] | None:
    """The operator with the largest kernel that reads and writes the channels where all of the branch does."""
    if not isinstance(meaning, Contraction):
        return None

    def axes(node: Contraction) -> tuple[int, int, int, int]:
        return node.input_axis, node.output_axis, node.output_rank, node.weight.ndim

    fitting = [entry for entry in weights if axes(entry[1]) == axes(meaning)]
    return max(fitting, key=lambda entry: prod(entry[1].weight.shape[3:]), default=None)


def _multiply_adds(kernels: Sequence[Contraction], weights: Sequence[Contraction]) -> int:
    """For one place of what the last one makes; those before a stride work for places that it skips."""
    places, total = 1, 0
    for kernel in reversed(kernels):
        if any(kernel is weight for weight in weights):
            total += multiply_adds(kernel) * places
        places *= prod(kernel.window.strides) if kernel.window is not None else 1
    return total
