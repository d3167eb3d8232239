"""Concat and Split: tensors of several parts."""

import itertools

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxValue, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Concatenation, Split

FAMILY = Family()


def encode_concat(context: OnnxContext, meaning: Concatenation) -> OnnxEdit | Refusal:
    """The constants among the inputs, as long as the file stores no more numbers for them than before."""
    parameters: dict[int, NewParameter | Refusal | None] = {}
    for slot, values in meaning.constants.items():
        source = context.required(slot)
        if np.array_equal(values, context.constants.require_exact(source)):
            continue
        stored = context.constants.numbers_stored(source)
        if values.size > stored and not _is_said_by_one_number(source, values):
            evidence = f"the file makes {source.name!r} of {stored} numbers, and would store {values.size}"
            return Refusal(Reason.PARAMETER_GROWS, evidence)
        parameters[slot] = parameter_for(context, slot, values)
    return edit_of(context, parameters)


@FAMILY.operator("Concat", (4, 11, 13), encode=encode_concat, traits=Traits(evaluate=constant_ops.concat))
def decode_concat(context: OnnxContext) -> Concatenation:
    """Source: ONNX Concat-4, -11, -13."""
    rank = len(context.output_shape())
    axis = context.attribute("axis", 1) % rank
    sizes = tuple(_length_of(value, axis) for value in context.node.inputs)
    constants = {slot: values for slot in range(len(sizes)) if (values := context.constant(slot)) is not None}
    return Concatenation(axis, rank, sizes, constants=constants)


def _is_said_by_one_number(source: OnnxValue, values: Array) -> bool:
    """Whether the node that fills a tensor with one number goes on to do so."""
    is_filled = source.producer is not None and source.producer.traits.holds_values
    return is_filled and not np.any(values != values.reshape(-1)[0])


@FAMILY.operator("Split", (2, 11, 13, 18))
def decode_split(context: OnnxContext) -> Split:
    """Source: ONNX Split-2, -11, -13, -18."""
    shape = context.shape(0)
    axis = context.attribute("axis", 0) % len(shape)
    length = shape[axis]
    sizes = [_length_of(output, axis) for output in context.node.outputs]
    known = [size for size in sizes if size is not None]
    if not isinstance(length, int) or len(known) < len(sizes) or sum(known) != length:
        raise Undecodable(
            Reason.UNKNOWN_SHAPE, f"the lengths of the parts on axis {axis} are not known before run time"
        )
    stops = list(itertools.accumulate(known))
    return Split(axis, len(shape), tuple(zip([0, *stops], stops, strict=False)), length)


def _length_of(value: object, axis: int) -> int | None:
    shape = getattr(value, "shape", None)
    length = shape[axis] if shape is not None else None
    return length if isinstance(length, int) else None
