"""Cast between floating-point types: a map may pass where the numbers are rounded to the narrow type either way.

Mixed precision computes in float16 or bfloat16 and its BatchNorms in float32: Cast up, BatchNorm, Cast down. In
front of the Cast up the values have the digits of the narrow type, and behind the Cast down they have them again. So a
map in between may go to either side: what it makes is rounded to the narrow type once, as before. Where the wide values
go elsewhere as well, or come from elsewhere, digits would be lost, and the Cast lets nothing pass. Nor does it where
two scales stand in between: what the first one makes may be larger than float16 can hold, and the second one small.
"""

import onnx
import onnx.helper

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output
from bnfold.refusal import Reason
from bnfold.semantics import Rearrangement

FAMILY = Family()

_WIDE = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
_NARROW = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_LONGEST_CHAIN = 50


@FAMILY.operator(
    "Cast",
    (6, 9, 13, 19, 21, 23, 24, 25, 28),
    traits=Traits(
        keeps_numbers=True,
        evaluate=constant_ops.cast,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
    ),
)
def decode_cast(context: OnnxContext) -> Rearrangement:
    """Source: ONNX Cast-6 to -28."""
    return _cast(context, context.attribute("to", 0))


@FAMILY.operator(
    "CastLike",
    (15, 19, 21, 23, 24, 25),
    traits=Traits(
        evaluate=constant_ops.cast_like,
        value_inputs=1,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
    ),
)
def decode_cast_like(context: OnnxContext) -> Rearrangement:
    """A Cast to the type of another tensor, whose values nobody reads. Source: ONNX CastLike-15 to -25."""
    return _cast(context, context.required(1).element_type)


def _cast(context: OnnxContext, target: int) -> Rearrangement:
    node, source = context.node, context.required(0).element_type
    if source == target and source in (*_WIDE, *_NARROW):
        return Rearrangement(())
    if source in _WIDE and target in _WIDE:
        return Rearrangement(())
    if source in _NARROW and target in _WIDE:
        output = node.outputs[0]
        if output is not None and _all_return(output, source, context, _LONGEST_CHAIN):
            return Rearrangement(())
        raise Undecodable(
            Reason.NOT_LINEAR, f"behind the Cast the map keeps digits that {_name(source)} in front of it does not have"
        )
    if source in _WIDE and target in _NARROW:
        if _comes_from(context.required(0), target, context, _LONGEST_CHAIN):
            return Rearrangement(())
        raise Undecodable(
            Reason.NOT_LINEAR,
            f"in front of the Cast are digits that {_name(target)} does not keep, and a map behind it would miss them",
        )
    raise Undecodable(Reason.NOT_LINEAR, "only a cast between types of floating-point numbers keeps the map")


def _name(element_type: int) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(element_type))


def _all_return(value: OnnxValue, narrow: int, context: OnnxContext, chain: int, scales: int = 1) -> bool:
    """Whether all that is made of a wide tensor is rounded to the narrow type again, behind so many scales."""
    if value.is_output or not value.value_readers or not chain or scales < 0:
        return False
    return all(_returns(reader, slot, narrow, context, chain, scales) for reader, slot in value.value_readers)


def _returns(reader: OnnxNode, slot: int, narrow: int, context: OnnxContext, chain: int, scales: int) -> bool:
    if not reader.is_standard or reader.outputs[0] is None:
        return False
    if reader.proto.op_type == "Cast":
        return bool(attribute(reader, "to", 0) == narrow)
    left = scales - reader.traits.multiplies
    return _follows(reader, slot, context) and _all_return(reader.outputs[0], narrow, context, chain - 1, left)


def _comes_from(value: OnnxValue, narrow: int, context: OnnxContext, chain: int, scales: int = 1) -> bool:
    """Whether a wide tensor is made of narrow numbers, each of one, behind so many scales."""
    node = value.producer
    if node is None or not node.is_standard or not chain or scales < 0:
        return False
    if node.proto.op_type == "Cast":
        return node.inputs[0] is not None and node.inputs[0].element_type == narrow
    for slot, source in enumerate(node.inputs):
        if source is not None and not context.constants.is_fixed(source):
            left = scales - node.traits.multiplies
            return _follows(node, slot, context) and _comes_from(source, narrow, context, chain - 1, left)
    return False


def _follows(node: OnnxNode, slot: int, context: OnnxContext) -> bool:
    """Whether an operator makes each number of one number of this input, and of nothing else that varies."""
    others = (source for number, source in enumerate(node.inputs) if number != slot and source is not None)
    return node.traits.per_number and all(context.constants.is_fixed(source) for source in others)
