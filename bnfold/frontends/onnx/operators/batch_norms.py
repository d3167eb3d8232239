"""BatchNormalization, read as an affine map."""

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.common.batch_norms import (
    moved_statistic,
    read_batch_norm,
    read_batch_norm_of_one_channel,
    require_channels,
    require_vectors,
    scale_and_bias,
)
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.undecodable import Undecodable, if_meant_for_inference
from bnfold.frontends.onnx.attributes import DEFAULT_EPSILON
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_output, normalised
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap

FAMILY = Family()

FIRST_WITH_TRAINING_MODE = 14
"""Below this opset, five outputs say training and one says inference. Source: ONNX BatchNormalization-9, -14"""


def encode_batch_norm(context: OnnxContext, meaning: AffineMap) -> OnnxEdit | Refusal:
    """Mean and variance are those of what the input holds; scale and bias take the rest of the change."""
    known = meaning.statistics
    new_mean = _moved(context, 3, None if known is None else known.mean)
    new_variance = _moved(context, 4, None if known is None else known.variance)
    mean = _stored(context, 3) if new_mean is None else new_mean.exact
    variance = _stored(context, 4) if new_variance is None else new_variance.exact
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {context.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, context.attribute("epsilon", DEFAULT_EPSILON))
    new = {slot: parameter_for(context, slot, exact) for slot, exact in ((1, gamma), (2, beta))}
    return edit_of(context, {**new, 3: new_mean, 4: new_variance})


def _moved(context: OnnxContext, slot: int, known: Array | None) -> NewParameter | None:
    value = context.required(slot)
    return moved_statistic(known, context.constants.require_exact(value), context.constants.dtype_of(value))


def _stored(context: OnnxContext, slot: int) -> Array:
    return context.constants.require(context.required(slot)).astype(np.float64)


@FAMILY.operator(
    "BatchNormalization",
    (7, 9, 14, 15),
    encode=encode_batch_norm,
    traits=Traits(
        per_number=True,
        multiplies=True,
        can_be_computed=False,
        tell_output_shape=normalised,
        tell_input_shape=like_first_output,
    ),
)
def decode_batch_norm(context: OnnxContext) -> AffineMap:
    """BatchNormalization in inference: five inputs, one output. Source: ONNX BatchNormalization-7, -9, -14, -15."""
    _require_inference(context)
    gamma, beta, mean, variance = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in range(1, 5))
    shape = context.shape(0)
    if context.node.opset < 9 and not context.attribute("spatial", 1):
        _require_channels_only(context, gamma, len(shape))
    require_vectors(gamma, beta, mean, variance)
    epsilon = context.attribute("epsilon", DEFAULT_EPSILON)
    if len(shape) == 1:
        return read_batch_norm_of_one_channel(gamma, beta, mean, variance, epsilon)
    require_channels(shape)
    return read_batch_norm(gamma, beta, mean, variance, epsilon, shape)


def _require_inference(context: OnnxContext) -> None:
    """Refuse a BatchNorm that takes its statistics from the batch, and say what for."""
    node = context.node
    used = [value for value in node.outputs[1:] if value is not None and (value.readers or value.is_output)]
    if used:
        names = ", ".join(repr(value.name) for value in used)
        raise Undecodable(Reason.STATISTICS_OUTPUTS, f"its statistics are used, as {names}")
    training = context.attribute("training_mode", 0)
    if training and _never_kept_statistics(context):
        kept = (
            "its running mean and variance are 0 and 1, as of a BatchNorm that keeps none and always takes the batch's"
        )
        raise Undecodable(Reason.TRAINING_MODE, f"training_mode is 1, and {kept}")
    if training:
        raise Undecodable(Reason.TRAINING_MODE, "training_mode is 1", hint=if_meant_for_inference())
    if any(node.outputs[1:]):
        names = ", ".join(repr(value.name) for value in node.outputs[1:] if value is not None)
        hint = if_meant_for_inference() if node.opset < FIRST_WITH_TRAINING_MODE else ""
        raise Undecodable(Reason.STATISTICS_OUTPUTS, f"it also outputs {names}, which is for training only", hint)


def _never_kept_statistics(context: OnnxContext) -> bool:
    mean, variance = (context.constants.read(context.required(slot)) for slot in (3, 4))
    if isinstance(mean, Refusal) or isinstance(variance, Refusal):
        return False
    return not mean.any() and bool((variance == 1).all())


def _require_channels_only(context: OnnxContext, gamma: Array, rank: int) -> None:
    """With spatial=0 parameters have the shape (C, D1, ...) of a whole sample, which is (C,) at rank 2 alone."""
    said = f"spatial is 0 at opset {context.node.opset}"
    if rank < 3:
        return
    if gamma.ndim > 1:
        raise Undecodable(Reason.NOT_SPATIAL, f"{said}, and its parameters have shape {gamma.shape}")
    raise Undecodable(
        Reason.NOT_SPATIAL,
        f"{said}, which asks for parameters of rank {rank - 1}, and they have shape {gamma.shape}",
        hint="if one mean per channel is meant, set spatial to 1: as it is, runtimes refuse to run it",
    )
