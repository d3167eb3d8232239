"""Instance, group and layer norm, embedding tables and recurrent operators: each takes a map at one side."""

import numpy as np

from bnfold.affine import Affine, Array, per_channel
from bnfold.frontends.aten.decoders import affine_maps
from bnfold.frontends.aten.decoders.affine_maps import decode_statistics, has_statistics
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Embedding, Normalisation, Recurrent


def decode_instance_norm(call: AtenCall) -> Normalisation | AffineMap:
    """With running statistics it is what a BatchNorm is. Source: torch.nn.functional.instance_norm."""
    if not call.fixed("use_input_stats"):
        return decode_statistics(call)
    return _per_channel(call)


def decode_batch_norm(call: AtenCall) -> Normalisation | AffineMap:
    """A BatchNorm, or the middle of a decomposed instance normalisation."""
    if call.node.normalises_instances and not has_statistics(call):
        return _per_channel(call)
    return affine_maps.decode_batch_norm(call)


def decode_group_norm(call: AtenCall) -> Normalisation:
    """group_norm and native_group_norm. Source: torch.nn.functional.group_norm."""
    _refuse_read_statistics(call)
    return _per_channel(call)


def decode_layer_norm(call: AtenCall) -> Normalisation:
    """layer_norm and native_layer_norm, over the last axes. Source: torch.nn.functional.layer_norm."""
    _refuse_read_statistics(call)
    lengths = tuple(call.fixed("normalized_shape"))
    rank = len(call.shape("input"))
    scale, shift = (_optional(call, name, lengths, neutral) for name, neutral in (("weight", 1.0), ("bias", 0.0)))
    affine = Affine(with_leading_ones(scale, rank), with_leading_ones(shift, rank))
    return Normalisation(affine, tuple(range(rank - len(lengths), rank)))


def _per_channel(call: AtenCall) -> Normalisation:
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


def decode_embedding(call: AtenCall) -> Embedding:
    """Source: torch.nn.functional.embedding."""
    table = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    return Embedding(table, 0, len(call.shape("indices")))


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
