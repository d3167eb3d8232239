"""Batch, instance, group and layer norms, embedding tables and recurrent operators."""

import numpy as np

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.decoders.affine_maps import epsilon
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.decoders.norms import first_layer
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.encoders.parameters import edit_of, parameter_like, rounded, type_of
from bnfold.frontends.aten.graph import Slot
from bnfold.frontends.common.batch_norms import moved_mean, scale_and_bias
from bnfold.frontends.common.parameters import NewParameter, new_weight
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Embedding, Normalisation, Recurrent


def encode_embedding(call: AtenCall, meaning: Embedding) -> AtenEdit | Refusal:
    """The whole table."""
    return edit_of(call, {("weight", None): parameter_like(call, "weight", meaning.values)})


def encode_batch_norm(call: AtenCall, meaning: AffineMap | Normalisation) -> AtenEdit | Refusal:
    """With statistics that it keeps, weight and bias take the change; else it is an instance normalisation."""
    return _statistics(call, meaning) if isinstance(meaning, AffineMap) else encode_norm_of_channels(call, meaning)


def encode_norm_of_channels(call: AtenCall, meaning: Normalisation) -> AtenEdit | Refusal:
    """Instance and group norm: one number per channel."""
    return _normalisation(call, meaning, (max(meaning.affine.scale.shape[1], meaning.affine.shift.shape[1]),))


def encode_layer_norm(call: AtenCall, meaning: Normalisation) -> AtenEdit | Refusal:
    """Numbers over all axes that it normalises."""
    return _normalisation(call, meaning, tuple(call.fixed("normalized_shape")))


def encode_recurrent(call: AtenCall, meaning: Recurrent) -> AtenEdit | Refusal:
    """The input weights and the input half of the bias of the first layer, one direction after the other."""
    parameters, starts = call.values("params"), first_layer(call)
    if meaning.bias is not None and not call.fixed("has_biases"):
        return Refusal(Reason.NO_BIAS, f"{call.node.label!r} ({call.node.op}) has no biases")
    changes: dict[Slot, NewParameter | Refusal | None] = {}
    dtype = call.constants.require(parameters[starts[0]]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda stored: stored)
    if isinstance(weight, Refusal):
        return weight
    for direction, start in enumerate(starts):
        changes["params", start] = NewParameter(weight.exact[direction], weight.rounded[direction])
        if meaning.bias is not None:
            changes["params", start + 2] = rounded(meaning.bias[direction], dtype)
    return edit_of(call, changes)


def _normalisation(call: AtenCall, meaning: Normalisation, shape: tuple[int, ...]) -> AtenEdit | Refusal:
    """The norm's own weight and bias, over the axes that they cover."""
    first, last = meaning.axes[0], meaning.axes[-1] + 1
    parameters: dict[Slot, NewParameter | Refusal | None] = {}
    for name, values, neutral in (("weight", meaning.affine.scale, 1.0), ("bias", meaning.affine.shift, 0.0)):
        own = values.reshape(values.shape[first:last])
        if call.has(name) or np.any(own != neutral):
            parameters[name, None] = rounded(np.broadcast_to(own, shape), type_of(call, name, "weight", "bias"))
    return edit_of(call, parameters)


def _statistics(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The variance stays, and the mean where the statistics do; weight and bias take the change."""
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    exact_mean = moved_mean(meaning, mean)
    moved = None if exact_mean is None else rounded(exact_mean, type_of(call, "running_mean"))
    if isinstance(moved, Refusal):
        return moved
    mean = mean if moved is None else moved.rounded.astype(np.float64)
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {call.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, epsilon(call))
    dtype = type_of(call, "weight", "bias", "running_mean")
    return edit_of(
        call,
        {("weight", None): rounded(gamma, dtype), ("bias", None): rounded(beta, dtype), ("running_mean", None): moved},
    )
