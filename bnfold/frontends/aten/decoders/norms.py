"""Instance, group and layer norm, embedding tables and recurrent operators: each takes a map at one side."""

import numpy as np

from bnfold.affine import Affine, Array, per_channel
from bnfold.frontends.aten.decoders import affine_maps
from bnfold.frontends.aten.decoders.affine_maps import decode_statistics, has_statistics
from bnfold.frontends.aten.decoders.context import Context
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Embedding, Normalisation, Recurrent


def decode_instance_norm(context: Context) -> Normalisation | AffineMap:
    """With running statistics it is what a BatchNorm is. Source: torch.nn.functional.instance_norm."""
    if not context.fixed("use_input_stats"):
        return decode_statistics(context)
    return _per_channel(context)


def decode_batch_norm(context: Context) -> Normalisation | AffineMap:
    """A BatchNorm, or the middle of a decomposed instance normalisation."""
    if context.node.normalises_instances and not has_statistics(context):
        return _per_channel(context)
    return affine_maps.decode_batch_norm(context)


def decode_group_norm(context: Context) -> Normalisation:
    """group_norm and native_group_norm. Source: torch.nn.functional.group_norm."""
    _refuse_read_statistics(context)
    return _per_channel(context)


def decode_layer_norm(context: Context) -> Normalisation:
    """layer_norm and native_layer_norm, over the last axes. Source: torch.nn.functional.layer_norm."""
    _refuse_read_statistics(context)
    lengths = tuple(context.fixed("normalized_shape"))
    rank = len(context.shape("input"))
    scale, shift = (_optional(context, name, lengths, neutral) for name, neutral in (("weight", 1.0), ("bias", 0.0)))
    affine = Affine(with_leading_ones(scale, rank), with_leading_ones(shift, rank))
    return Normalisation(affine, tuple(range(rank - len(lengths), rank)))


def _per_channel(context: Context) -> Normalisation:
    shape = context.shape("input")
    channels = shape[1] if len(shape) > 1 else None
    if not isinstance(channels, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, "the number of channels is not known before run time")
    scale, shift = (
        _optional(context, name, (channels,), neutral) for name, neutral in (("weight", 1.0), ("bias", 0.0))
    )
    return Normalisation(per_channel(scale, shift, rank=len(shape)), (1,))


def _optional(context: Context, name: str, shape: tuple[int, ...], neutral: float) -> Array:
    values = context.optional_parameter(name, dynamic=Reason.DYNAMIC_PARAMETER)
    if values is None:
        return np.full(shape, neutral)
    if values.shape != shape:
        raise malformed(f"{name!r} has shape {values.shape}, expected {shape}")
    return values


def _refuse_read_statistics(context: Context) -> None:
    if any(value.readers or value.is_output for value in context.node.outputs[1:] if value is not None):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its mean or deviation is read")


def decode_embedding(context: Context) -> Embedding:
    """Source: torch.nn.functional.embedding."""
    table = context.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    return Embedding(table, 0, len(context.shape("indices")))


def decode_recurrent(context: Context) -> Recurrent:
    """lstm, gru, rnn_tanh, rnn_relu: the input weights of the first layer. Source: torch.nn.LSTM, GRU, RNN."""
    if "batch_sizes" in context.node.arguments:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{context.node.op} of packed sequences has no rule")
    parameters = context.values("params")
    starts = first_layer(context)
    weights = [context.parameter_at(parameters[start], dynamic=Reason.DYNAMIC_WEIGHT) for start in starts]
    biases = [
        context.parameter_at(parameters[start + 2], dynamic=Reason.DYNAMIC_BIAS)
        for start in starts
        if context.fixed("has_biases")
    ]
    rank = len(context.shape("input"))
    return Recurrent(np.stack(weights), np.stack(biases) if biases else None, input_axis=rank - 1)


def first_layer(context: Context) -> list[int]:
    """Where in the list of parameters those of each direction of the first layer begin."""
    directions = 2 if context.fixed("bidirectional") else 1
    each, rest = divmod(len(context.values("params")), directions * int(context.fixed("num_layers")))
    if rest or each < 2:
        raise malformed(f"{context.node.op} has {len(context.values('params'))} parameters")
    return [direction * each for direction in range(directions)]
