"""Instance normalisations as torch's decompositions write them: a batch normalisation of batch and channels as one.

    view(x, (1, N * C, *S)) -- batch_norm -- view(y, (N, C, *S)), each parameter of C numbers repeated N times

Where N is known, a map behind it becomes one of N * C channels on its way through the view. Where it is not, the view
behind stands for the whole: its channels are C.

Source: aten/src/ATen/native/Normalization.cpp, instance_norm
"""

from dataclasses import replace

import numpy as np

from bnfold.affine import per_channel
from bnfold.errors import InternalError
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.node import Argument, AtenNode, AtenValue
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.movement import decode_regrouping
from bnfold.frontends.aten.operators.parameters import edit_of, parameter_like
from bnfold.frontends.common.undecodable import malformed
from bnfold.refusal import Reason, Refusal
from bnfold.regrouping import Dim
from bnfold.semantics import Normalisation


def mark_instance_norms(graph: AtenGraph) -> None:
    """Set `normalises_instances` of every node that is the middle of an instance normalisation.

    Behind a batch of unknown size, the view behind gets the meaning of the whole.
    """
    for node in graph.nodes:
        if node.operator.is_batch_norm and _is_between_views(node):
            node.normalises_instances = True
            end = node.outputs[0].readers[0][0] if node.outputs[0] is not None else None
            if end is not None and _stands_for_the_whole(node, end):
                end.operator = replace(end.operator, decode=decode_end, encode=encode_end)


def decode_end(call: AtenCall) -> Normalisation:
    """The view behind a batch of unknown size: y = weight * n(x) + bias, the parameters not repeated."""
    norm, shape = _norm_before(call.node), call.output_shape()
    weight, bias = (
        call.parameter_at(_repetition(norm, name).inputs[0], dynamic=Reason.DYNAMIC_PARAMETER)
        for name in ("weight", "bias")
    )
    if weight.shape != bias.shape or weight.shape != shape[1:2]:
        raise malformed(f"the parameters have shapes {weight.shape} and {bias.shape}, expected {shape[1:2]}")
    return Normalisation(per_channel(weight, bias, rank=len(shape)), (1,))


def encode_end(call: AtenCall, meaning: Normalisation) -> AtenEdit | Refusal:
    """New values for what is repeated."""
    norm, channels = _norm_before(call.node), [length for length in call.output_shape()[1:2] if isinstance(length, int)]
    edits, renamed = [], [call.node.inputs[0]]
    for name, values in (("weight", meaning.affine.scale), ("bias", meaning.affine.shift)):
        repetition = _repetition(norm, name)
        exact = np.broadcast_to(values.reshape(values.shape[1:2]), channels)
        repeating = AtenCall(repetition, call.constants)
        edit = edit_of(repeating, {("self", None): parameter_like(repeating, "self", exact)})
        if isinstance(edit, Refusal):
            return edit
        edits.append(edit)
        renamed += [value for value in repetition.outputs if value is not None]
    return AtenEdit(call.node, {}, further=edits, renamed=renamed)


def _stands_for_the_whole(norm: AtenNode, end: AtenNode) -> bool:
    """Whether a view is all that reads a norm of a batch of unknown size, whose parameters are repeated."""
    result, made = norm.outputs[0], end.outputs[0]
    if (
        result is None
        or len(result.readers) != 1
        or made is None
        or made.shape is None
        or isinstance(made.shape[0], int)
    ):
        return False
    parameters = [norm.arguments.get(name) for name in ("weight", "bias")]
    return norm.arguments.get("running_mean") is None and all(map(_is_repeated_for_it_alone, parameters))


def _is_repeated_for_it_alone(value: Argument) -> bool:
    return (
        isinstance(value, AtenValue)
        and value.producer is not None
        and value.producer.op == "aten::repeat"
        and len(value.readers) == 1
        and not value.is_output
    )


def _norm_before(end: AtenNode) -> AtenNode:
    norm = end.inputs[0].producer
    if norm is None:
        raise InternalError(f"{end.label!r} has no norm before it any more")
    return norm


def _repetition(norm: AtenNode, name: str) -> AtenNode:
    repetition: AtenNode | None = norm.arguments[name].producer
    if repetition is None:
        raise InternalError(f"{name!r} of {norm.label!r} is not repeated any more")
    return repetition


def _is_between_views(node: AtenNode) -> bool:
    source, result = node.arguments.get("input"), node.outputs[0] if node.outputs else None
    if not isinstance(source, AtenValue) or source.producer is None or not _regroups(source.producer):
        return False
    if result is None or result.is_output or any(_is_used(value) for value in node.outputs[1:]):
        return False
    before = source.producer.inputs[0].shape
    behind = [_shape_behind(reader) for reader, _ in result.readers]
    return before is not None and _joins_batch(before, source.shape) and bool(behind) and set(behind) == {before}


def _joins_batch(apart: tuple[Dim, ...], joined: tuple[Dim, ...] | None) -> bool:
    """Whether batch and channels of one shape are the channels of the other."""
    if joined is None or len(apart) < 3 or len(joined) != len(apart):
        return False
    batch, channels = apart[:2]
    if joined[0] != 1 or joined[2:] != apart[2:] or not isinstance(channels, int):
        return False
    if isinstance(batch, int):
        return joined[1] == batch * channels
    return not isinstance(joined[1], int)


def _shape_behind(reader: AtenNode) -> tuple[Dim, ...] | None:
    made = reader.outputs[0] if _regroups(reader) else None
    return None if made is None else made.shape


def _regroups(node: AtenNode) -> bool:
    return node.operator.decode is decode_regrouping


def _is_used(value: AtenValue | None) -> bool:
    return value is not None and bool(value.readers or value.is_output)
