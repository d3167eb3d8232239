"""Where, Max and Min: each number is that of one of several tensors."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.parameters import NewParameter, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.masks import hides_scores, operand
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Choice, Masking, Rearrangement

FAMILY = Family()

_MASK, _CHOSEN = 0, (1, 2)


def encode_choice(context: OnnxContext, meaning: Choice) -> OnnxEdit | Refusal:
    """The constants, as long as they were, or longer where the map asks for that."""
    parameters: dict[int, NewParameter | Refusal | None] = {}
    for slot, values in meaning.constants.items():
        source = context.required(slot)
        old = context.constants.require_exact(source)
        own = without_leading_ones(values, old.ndim)
        new = np.broadcast_to(own, np.broadcast_shapes(own.shape, old.shape))
        if new.shape == old.shape and np.array_equal(new, old):
            continue
        stored = context.constants.numbers_stored(source)
        if new.size > stored and new.size > own.size:
            evidence = f"the file makes {source.name!r} of {stored} numbers, and would store {new.size}"
            return Refusal(Reason.PARAMETER_GROWS, evidence)
        parameters[slot] = parameter_for(context, slot, new)
    return edit_of(context, parameters)


@FAMILY.operator("Where", (9, 16), encode=encode_choice)
def decode_where(context: OnnxContext) -> Choice | Masking:
    """Where of floating-point numbers, whatever chooses between them; minus infinity hides scores.

    Source: ONNX Where-9, -16.
    """
    values = {slot: context.constant(slot) for slot in _CHOSEN}
    constants = {slot: found for slot, found in values.items() if found is not None}
    hidden = [slot for slot, found in constants.items() if hides_scores(found)]
    result = context.output_shape()
    rank = len(result)
    if len(constants) == len(_CHOSEN):
        raise Undecodable(Reason.NOT_LINEAR, "Where of two constants computes with no activation but the mask")
    if hidden:
        (source,) = set(_CHOSEN) - set(hidden)
        return Masking(operand(context.shape(source), rank), rank, source)
    operands = {slot: operand(context.shape(slot), rank) for slot in _CHOSEN if slot not in constants}
    mask = context.constants.read(context.required(_MASK))
    return Choice(
        rank,
        operands,
        _of_rank(constants, rank),
        None if isinstance(mask, Refusal) else mask.astype(np.bool_).reshape((1,) * (rank - mask.ndim) + mask.shape),
    )


@FAMILY.operator("Max", (6, 8, 12, 13), encode=encode_choice, traits=Traits(commutative=True))
@FAMILY.operator("Min", (6, 8, 12, 13), encode=encode_choice, traits=Traits(commutative=True))
def decode_extreme(context: OnnxContext) -> Choice | Rearrangement:
    """The largest or smallest of several tensors; of one tensor, that tensor.

    Source: ONNX Max-6 to -13, Min-6 to -13.
    """
    slots = range(len(context.node.inputs))
    if len(slots) == 1:
        return Rearrangement(())
    values = {slot: context.constant(slot) for slot in slots}
    constants = {slot: found for slot, found in values.items() if found is not None}
    if len(constants) == len(slots):
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} of constants computes with no activation")
    rank = len(context.output_shape())
    operands = {slot: operand(context.shape(slot), rank) for slot in slots if slot not in constants}
    return Choice(rank, operands, _of_rank(constants, rank), by_size=True)


def _of_rank(constants: Mapping[int, Array], rank: int) -> Mapping[int, Array]:
    return {slot: _shortest(with_leading_ones(found, rank)) for slot, found in constants.items()}


def _shortest(values: Array) -> Array:
    """The same numbers, once along axes on which they do not vary."""
    for axis in _long(values.shape):
        first = np.take(values, [0], axis=axis)
        values = first if np.all(values == first) else values
    return values


def _long(shape: Sequence[int]) -> list[int]:
    return [axis for axis, length in enumerate(shape) if length > 1]
