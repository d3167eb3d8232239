"""The algebra: pure functions on meanings and maps. No rule ever sees a graph, none returns a bool."""

from collections.abc import Callable, Mapping

import numpy as np

from bnfold.affine import Affine
from bnfold.errors import InternalError
from bnfold.refusal import Reason, Refusal
from bnfold.rules.absorbers import absorb_output_into_embedding, absorb_output_into_normalisation
from bnfold.rules.affine_map import (
    absorb_input_into_affine_map,
    absorb_output_into_affine_map,
    read_batch_norm_as_affine,
)
from bnfold.rules.commuting import pull_through_commuting, push_through_commuting
from bnfold.rules.contraction import (
    absorb_input_into_contraction,
    absorb_input_into_recurrent,
    absorb_output_into_contraction,
    push_shift_through_contraction,
)
from bnfold.rules.joins import pull_through_product, pull_through_sum, push_through_product, push_through_sum
from bnfold.rules.merge import chain_contractions, merge_branches, read_map_as_contraction
from bnfold.rules.moves import Moved
from bnfold.rules.parts import (
    pull_through_concatenation,
    pull_through_split,
    push_through_concatenation,
    push_through_split,
)
from bnfold.rules.rearrangement import pull_through_rearrangement, push_through_rearrangement
from bnfold.semantics import (
    AffineMap,
    Commuting,
    Concatenation,
    Contraction,
    Embedding,
    Meaning,
    Normalisation,
    Opaque,
    Product,
    Rearrangement,
    Recurrent,
    Split,
    Sum,
)

__all__ = ["ALL", "Moved", "needs_node_for_bias", "pull", "push", "push_past_products", "refuse"]

ALL: tuple[Callable[..., object], ...] = (
    read_batch_norm_as_affine,
    absorb_output_into_contraction,
    absorb_input_into_contraction,
    push_shift_through_contraction,
    absorb_input_into_recurrent,
    absorb_output_into_normalisation,
    absorb_output_into_embedding,
    absorb_output_into_affine_map,
    absorb_input_into_affine_map,
    pull_through_commuting,
    push_through_commuting,
    pull_through_rearrangement,
    push_through_rearrangement,
    pull_through_concatenation,
    push_through_concatenation,
    pull_through_split,
    push_through_split,
    pull_through_sum,
    push_through_sum,
    pull_through_product,
    push_through_product,
    read_map_as_contraction,
    chain_contractions,
    merge_branches,
)
"""Every rule, in the order of docs/rules.md."""


# Whatever overflows is refused when it is absorbed or rounded: a warning would say the same twice.
_NO_WARNINGS = np.errstate(over="ignore", invalid="ignore")


@_NO_WARNINGS
def pull(meaning: Meaning, outputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Make a node's outputs carry maps on top of what they carry now: the maps move upstream.

    Args:
        meaning: of the node.
        outputs: the maps by output index, at least one.
    """
    if isinstance(meaning, Opaque):
        return refuse(meaning)
    if isinstance(meaning, Split):
        return pull_through_split(meaning, outputs)
    if isinstance(meaning, Recurrent):
        return Refusal(Reason.NOT_LINEAR, "a recurrent operator ends in nonlinear gates")
    rule: Callable[..., Moved | Refusal] = _PULL[type(meaning)]
    return rule(meaning, _single(outputs, 0))


@_NO_WARNINGS
def push(meaning: Meaning, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Let a node compute the same from its inputs without the maps that act on them now: the maps move downstream.

    Args:
        meaning: of the node.
        inputs: the maps by input index, at least one.
    """
    if isinstance(meaning, Opaque):
        return refuse(meaning)
    if isinstance(meaning, Normalisation):
        return Refusal(Reason.NOT_LINEAR, "a normalisation takes its statistics from what it reads")
    if isinstance(meaning, Embedding):
        return Refusal(Reason.NOT_LINEAR, "the tensor is an index")
    if isinstance(meaning, (Concatenation, Sum, Product)):
        join: Callable[..., Moved | Refusal] = _PUSH_JOINED[type(meaning)]
        return join(meaning, inputs)
    if set(inputs) != {meaning.source}:
        return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    rule: Callable[..., Moved | Refusal] = _PUSH[type(meaning)]
    return rule(meaning, _single(inputs, meaning.source))


def push_past_products(meaning: Meaning, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """As `push`, but a shift acts behind a contraction that could take it only with another node."""
    if isinstance(meaning, Contraction) and set(inputs) == {meaning.source} and needs_node_for_bias(meaning):
        affine = _single(inputs, meaning.source)
        if not affine.has_scale:
            return push_shift_through_contraction(meaning, affine)
    return push(meaning, inputs)


def needs_node_for_bias(meaning: Meaning) -> bool:
    """Whether a contraction has no bias and no room for one."""
    return isinstance(meaning, Contraction) and meaning.bias is None and not meaning.holds_bias


_PULL: Mapping[type, Callable[..., Moved | Refusal]] = {
    AffineMap: absorb_output_into_affine_map,
    Commuting: pull_through_commuting,
    Concatenation: pull_through_concatenation,
    Contraction: absorb_output_into_contraction,
    Normalisation: absorb_output_into_normalisation,
    Product: pull_through_product,
    Rearrangement: pull_through_rearrangement,
    Sum: pull_through_sum,
    Embedding: absorb_output_into_embedding,
}

_PUSH: Mapping[type, Callable[..., Moved | Refusal]] = {
    AffineMap: absorb_input_into_affine_map,
    Commuting: push_through_commuting,
    Contraction: absorb_input_into_contraction,
    Split: push_through_split,
    Rearrangement: push_through_rearrangement,
    Recurrent: absorb_input_into_recurrent,
}

_PUSH_JOINED: Mapping[type, Callable[..., Moved | Refusal]] = {
    Concatenation: push_through_concatenation,
    Product: push_through_product,
    Sum: push_through_sum,
}


def refuse(node: Opaque) -> Refusal:
    """An operator that is not understood lets nothing pass."""
    return Refusal(node.reason, node.evidence, hint=node.hint)


def _single(maps: Mapping[int, Affine], index: int) -> Affine:
    if set(maps) != {index}:
        raise InternalError(f"expected one map at index {index}, got some at {sorted(maps)}")
    return maps[index]
