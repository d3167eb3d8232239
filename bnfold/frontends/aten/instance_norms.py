"""Instance normalisations as torch's decompositions write them: a batch normalisation of batch and channels as one.

    view(x, (1, N * C, *S)) -- batch_norm -- view(y, (N, C, *S)), each parameter of C numbers repeated N times

Source: aten/src/ATen/native/Normalization.cpp, instance_norm
"""

from bnfold.frontends.aten.graph import AtenGraph, AtenNode, AtenValue
from bnfold.frontends.aten.operators.movement import decode_regrouping
from bnfold.rearrange import Dim


def mark_instance_norms(graph: AtenGraph) -> None:
    """Set `normalises_instances` of every node that is the middle of an instance normalisation."""
    for node in graph.nodes:
        if node.operator.is_batch_norm and _is_between_views(node):
            node.normalises_instances = True


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
