"""Instance, group and layer norm, embedding tables and recurrent operators: each takes a map at one side."""

import numpy as np

from bnfold.affine import Affine, Array, per_channel
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import Slot
from bnfold.frontends.aten.operators.accepted_shapes import (
    Takes,
    accepted_by_embedding,
    accepted_by_layer_norm,
    accepted_by_norm_of_channels,
    accepted_by_recurrent,
)
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.parameters import edit_of, parameter_like, rounded, type_of
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.parameters import NewParameter, new_weight
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Embedding, Normalisation, Recurrent

FAMILY = AtenFamily()
NORM_OF_CHANNELS = Takes("input", "weight", accepted_by_norm_of_channels)


def encode_embedding(call: AtenCall, meaning: Embedding) -> AtenEdit | Refusal:
    """The whole table."""
    return edit_of(call, {("weight", None): parameter_like(call, "weight", meaning.values)})


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


@FAMILY.operator(
    "group_norm", "native_group_norm", encode=encode_norm_of_channels, keeps=Keeps.ALL, takes=NORM_OF_CHANNELS
)
def decode_group_norm(call: AtenCall) -> Normalisation:
    """group_norm and native_group_norm. Source: torch.nn.functional.group_norm."""
    _refuse_read_statistics(call)
    return norm_of_channels(call)


@FAMILY.operator(
    "layer_norm",
    "native_layer_norm",
    encode=encode_layer_norm,
    keeps=Keeps.ALL,
    takes=Takes("input", "weight", accepted_by_layer_norm),
)
def decode_layer_norm(call: AtenCall) -> Normalisation:
    """layer_norm and native_layer_norm, over the last axes. Source: torch.nn.functional.layer_norm."""
    _refuse_read_statistics(call)
    lengths = tuple(call.fixed("normalized_shape"))
    rank = len(call.shape("input"))
    scale, shift = (_optional(call, name, lengths, neutral) for name, neutral in (("weight", 1.0), ("bias", 0.0)))
    affine = Affine(with_leading_ones(scale, rank), with_leading_ones(shift, rank))
    return Normalisation(affine, tuple(range(rank - len(lengths), rank)))


def norm_of_channels(call: AtenCall) -> Normalisation:
    """A norm with one scale and one shift for each channel."""
    shape = call.shape("input")
    channels = shape[1] if len(shape) > 1 else None
    if not isinstance(channels, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, "the number of channels is not known before run time")
    scale, shift = (_optional(call, name, (channels,), neutral) for name, neutral in (("weight", 1.0), ("bias", 0.0)))
    return Normalisation(per_channel(scale, shift, rank=len(shape)), (1,))


def _optional(call: AtenCall, name: str, shape: tuple[int, ...], neutral: float) -> Array:
    values = call.optional_parameter(name, dynamic=Reason.DYNAMIC_PARAMETER)
    if values is None:
        return np.full(shape, neutral)
    if values.shape != shape:
        raise malformed(f"{name!r} has shape {values.shape}, expected {shape}")
    return values


def _refuse_read_statistics(call: AtenCall) -> None:
    if any(value.readers or value.is_output for value in call.node.outputs[1:] if value is not None):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its mean or deviation is read")


@FAMILY.operator("embedding", encode=encode_embedding, takes=Takes("indices", "weight", accepted_by_embedding))
def decode_embedding(call: AtenCall) -> Embedding:
    """Source: torch.nn.functional.embedding."""
    table = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    return Embedding(table, 0, len(call.shape("indices")))


@FAMILY.operator(
    "lstm",
    "gru",
    "rnn_tanh",
    "rnn_relu",
    encode=encode_recurrent,
    takes=Takes("input", "params", accepted_by_recurrent),
)
def decode_recurrent(call: AtenCall) -> Recurrent:
    """lstm, gru, rnn_tanh, rnn_relu: the input weights of the first layer. Source: torch.nn.LSTM, GRU, RNN."""
    if "batch_sizes" in call.node.arguments:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{call.node.op} of packed sequences has no rule")
    parameters = call.values("params")
    starts = first_layer(call)
    weights = [call.parameter_at(parameters[start], dynamic=Reason.DYNAMIC_WEIGHT) for start in starts]
    biases = [
        call.parameter_at(parameters[start + 2], dynamic=Reason.DYNAMIC_BIAS)
        for start in starts
        if call.fixed("has_biases")
    ]
    rank = len(call.shape("input"))
    return Recurrent(np.stack(weights), np.stack(biases) if biases else None, input_axis=rank - 1)


def first_layer(call: AtenCall) -> list[int]:
    """Where in the list of parameters those of each direction of the first layer begin."""
    directions = 2 if call.fixed("bidirectional") else 1
    each, rest = divmod(len(call.values("params")), directions * int(call.fixed("num_layers")))
    if rest or each < 2:
        raise malformed(f"{call.node.op} has {len(call.values('params'))} parameters")
    return [direction * each for direction in range(directions)]
