"""Which rule a meaning has in each direction: one row for each meaning."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from bnfold.affine import Affine, Drift, Widening
from bnfold.errors import InternalError
from bnfold.refusal import Reason, Refusal
from bnfold.rules.absorbers import absorb_output_into_embedding, absorb_output_into_normalisation
from bnfold.rules.affine_map import (
    absorb_input_into_affine_map,
    absorb_output_into_affine_map,
    push_scale_past_addition,
)
from bnfold.rules.attention import (
    pull_through_attention,
    pull_through_masking,
    push_drift,
    push_into_softmax,
    push_through_attention,
    push_through_masking,
)
from bnfold.rules.biased_sum import pull_through_biased_sum, push_through_biased_sum
from bnfold.rules.broadcast_scale import (
    absorb_input_into_broadcast_scale,
    absorb_output_into_broadcast_scale,
    absorb_widening,
)
from bnfold.rules.choice import pull_through_choice, push_through_choice
from bnfold.rules.commuting import pull_through_commuting, push_through_commuting
from bnfold.rules.contraction import (
    absorb_input_into_contraction,
    absorb_input_into_recurrent,
    absorb_output_into_contraction,
    push_shift_through_contraction,
)
from bnfold.rules.fused_contraction import absorb_input_into_fused_contraction, absorb_output_into_fused_contraction
from bnfold.rules.integer_product import push_into_integer_product
from bnfold.rules.joins import pull_through_product, pull_through_sum, push_through_product, push_through_sum
from bnfold.rules.matrix_product import pull_through_matrix_product, push_through_matrix_product
from bnfold.rules.moves import Moved
from bnfold.rules.padding import pull_through_padding, push_through_padding
from bnfold.rules.parts import (
    pull_through_concatenation,
    pull_through_split,
    push_through_concatenation,
    push_through_split,
)
from bnfold.rules.rearrangement import confined, pull_through_rearrangement, push_through_rearrangement
from bnfold.rules.runtime_contraction import pull_through_runtime_contraction, push_through_runtime_contraction
from bnfold.semantics import (
    AffineMap,
    Attention,
    BiasedSum,
    BroadcastScale,
    Choice,
    Commuting,
    Concatenation,
    Contraction,
    Embedding,
    Form,
    FusedContraction,
    IntegerProduct,
    Masking,
    MatrixProduct,
    Meaning,
    Normalisation,
    Opaque,
    Padding,
    Product,
    Rearrangement,
    Recurrent,
    RuntimeContraction,
    Softmax,
    Split,
    Sum,
)

Maps: TypeAlias = Mapping[int, Affine]
"""Maps by the index of the input or output that they act on."""


class _OfOneTensor(Protocol):
    """A meaning that computes on one tensor, whatever else it reads."""

    @property
    def source(self) -> int: ...


M = TypeVar("M")
S = TypeVar("S", bound=_OfOneTensor)


@dataclass(frozen=True)
class Row(Generic[M]):
    """The rules of one meaning.

    Attributes:
        meaning: its class.
        pull: what becomes of maps behind it, by output.
        push: what becomes of maps in front of it, by input.
    """

    meaning: type[M]
    pull: Callable[[M, Maps], Moved | Refusal]
    push: Callable[[M, Maps], Moved | Refusal]


def _on_output(rule: Callable[[M, Affine], Moved | Refusal]) -> Callable[[M, Maps], Moved | Refusal]:
    """A rule for one map behind output 0."""

    @functools.wraps(rule)
    def pull(meaning: M, outputs: Maps) -> Moved | Refusal:
        if set(outputs) - {0}:
            return Refusal(Reason.NOT_LINEAR, "the tensor is another output of the operator than its result")
        return rule(meaning, _single(outputs, 0))

    return pull


def _on_source(rule: Callable[[S, Affine], Moved | Refusal]) -> Callable[[S, Maps], Moved | Refusal]:
    """A rule for one map in front of the tensor that the node computes on."""

    @functools.wraps(rule)
    def push(meaning: S, inputs: Maps) -> Moved | Refusal:
        if set(inputs) != {meaning.source}:
            return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
        return rule(meaning, _single(inputs, meaning.source))

    return push


def _never(evidence: str) -> Callable[[object, Maps], Refusal]:
    """No map goes that way."""
    return lambda _meaning, _maps: Refusal(Reason.NOT_LINEAR, evidence)


def refuse(node: Opaque) -> Refusal:
    """An operator that is not understood lets nothing pass."""
    return Refusal(node.reason, node.evidence, hint=node.hint)


_OUT_OF_GATES = _never("the operator ends in what is not linear: gates, or a softmax")
_OUT_OF_SOFTMAX = _never("a softmax is not linear")
_INTO_STATISTICS = _never("a normalisation takes its statistics from what it reads")
_INTO_AN_INDEX = _never("the tensor is an index")

ROWS: tuple[Row[Any], ...] = (
    Row(AffineMap, _on_output(absorb_output_into_affine_map), _on_source(absorb_input_into_affine_map)),
    Row(Attention, _on_output(pull_through_attention), push_through_attention),
    Row(BiasedSum, _on_output(pull_through_biased_sum), push_through_biased_sum),
    Row(BroadcastScale, _on_output(absorb_output_into_broadcast_scale), _on_source(absorb_input_into_broadcast_scale)),
    Row(Choice, _on_output(pull_through_choice), push_through_choice),
    Row(Commuting, _on_output(pull_through_commuting), _on_source(push_through_commuting)),
    Row(Concatenation, _on_output(pull_through_concatenation), push_through_concatenation),
    Row(Contraction, _on_output(absorb_output_into_contraction), _on_source(absorb_input_into_contraction)),
    Row(Embedding, _on_output(absorb_output_into_embedding), _INTO_AN_INDEX),
    Row(FusedContraction, _on_output(absorb_output_into_fused_contraction), absorb_input_into_fused_contraction),
    Row(IntegerProduct, _on_output(absorb_output_into_normalisation), push_into_integer_product),
    Row(Masking, _on_output(pull_through_masking), _on_source(push_through_masking)),
    Row(MatrixProduct, _on_output(pull_through_matrix_product), push_through_matrix_product),
    Row(Normalisation, _on_output(absorb_output_into_normalisation), _INTO_STATISTICS),
    Row(Opaque, lambda node, _maps: refuse(node), lambda node, _maps: refuse(node)),
    Row(Padding, _on_output(pull_through_padding), _on_source(push_through_padding)),
    Row(Product, _on_output(pull_through_product), push_through_product),
    Row(Rearrangement, _on_output(pull_through_rearrangement), _on_source(push_through_rearrangement)),
    Row(Recurrent, _OUT_OF_GATES, _on_source(absorb_input_into_recurrent)),
    Row(RuntimeContraction, _on_output(pull_through_runtime_contraction), push_through_runtime_contraction),
    Row(Softmax, _OUT_OF_SOFTMAX, _on_source(push_into_softmax)),
    Row(Split, pull_through_split, _on_source(push_through_split)),
    Row(Sum, _on_output(pull_through_sum), push_through_sum),
)
_BY_MEANING: Mapping[type, Row[Any]] = {row.meaning: row for row in ROWS}

# Whatever overflows is refused when it is absorbed or rounded: a warning would say the same twice.
_NO_WARNINGS = np.errstate(over="ignore", invalid="ignore")


@_NO_WARNINGS
def pull(meaning: Meaning, outputs: Maps) -> Moved | Refusal:
    """Make a node's outputs carry maps on top of what they carry now: the maps move upstream.

    Args:
        meaning: of the node.
        outputs: the maps by output index, at least one.
    """
    wide = outputs.get(0)
    if isinstance(wide, Widening):
        return absorb_widening(meaning, wide)
    return _BY_MEANING[type(meaning)].pull(meaning, outputs)


@_NO_WARNINGS
def push(meaning: Meaning, inputs: Maps) -> Moved | Refusal:
    """Let a node compute the same from its inputs without the maps that act on them now: the maps move downstream.

    Args:
        meaning: of the node.
        inputs: the maps by input index, at least one.
    """
    if any(isinstance(affine, Drift) for affine in inputs.values()):
        return push_drift(meaning, inputs)
    return _BY_MEANING[type(meaning)].push(meaning, inputs)


def push_past_products(meaning: Meaning, inputs: Maps) -> Moved | Refusal:
    """As `push`, but a shift acts behind a contraction that could take it only with another node."""
    if isinstance(meaning, Contraction) and set(inputs) == {meaning.source} and meaning.needs_node_for_bias:
        affine = _single(inputs, meaning.source)
        if not affine.has_scale:
            return push_shift_through_contraction(meaning, affine)
    return push(meaning, inputs)


@_NO_WARNINGS
def push_past_additions(meaning: Meaning, inputs: Maps) -> Moved | Refusal:
    """As `push`, but a scale acts behind an addition of a constant."""
    if isinstance(meaning, AffineMap) and meaning.form is Form.SHIFT and set(inputs) == {meaning.source}:
        affine = _single(inputs, meaning.source)
        if affine.has_scale and not isinstance(affine, Drift):
            return push_scale_past_addition(meaning, affine)
    return push(meaning, inputs)


def shows_a_difference(meaning: Meaning, index: int, one: Affine, other: Affine) -> bool:
    """Whether a node may compute another result where input `index` carries one map than where it carries the other.

    Nodes that only show some places of the tensor do not see what the maps do at others.
    """
    if one.equals(other):
        return False
    if not isinstance(meaning, (Rearrangement, Split)) or index != meaning.source:
        return True
    moved = [push(meaning, {index: affine}) for affine in (one, other)]
    left, right = (answer.requirements if isinstance(answer, Moved) else {} for answer in moved)
    return not left or left.keys() != right.keys() or any(not left[part].equals(right[part]) for part in left)


def where_shown(meaning: Meaning, index: int, affine: Affine) -> Affine:
    """A map of a node's input at those places alone that the node shows; the map itself where that leaves out none."""
    if not isinstance(meaning, Rearrangement) or index != meaning.source or type(affine) is not Affine:
        return affine
    return confined(meaning.steps, affine)


def _single(maps: Maps, index: int) -> Affine:
    if set(maps) != {index}:
        raise InternalError(f"expected one map at index {index}, got some at {sorted(maps)}")
    return maps[index]
