"""Tensors of several parts: cat and stack, and what takes them apart."""

import itertools

import numpy as np

from bnfold.frontends.aten.node import AtenValue
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.selections import listed
from bnfold.frontends.common.dimensions import known_length
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.rearrange import Regrouping
from bnfold.refusal import Reason
from bnfold.semantics import Concatenation, Split

FAMILY = AtenFamily()


@FAMILY.operator("cat", "concat", "concatenate")
def decode_cat(call: AtenCall) -> Concatenation:
    """Source: torch.cat."""
    tensors = call.values("tensors")
    call.require_float(*tensors)
    rank = len(call.output_shape())
    axis = call.axis("dim", rank)
    return Concatenation(axis, rank, tuple(_length(value, axis, rank) for value in tensors))


def _length(value: AtenValue, axis: int, rank: int) -> int | None:
    """None also for the empty tensors of rank 1 that cat skips."""
    length = value.shape[axis] if value.shape is not None and len(value.shape) == rank else None
    return length if isinstance(length, int) else None


@FAMILY.operator("stack")
def decode_stack(call: AtenCall) -> Concatenation:
    """Source: torch.stack."""
    tensors = call.values("tensors")
    call.require_float(*tensors)
    rank = len(call.output_shape())
    axis = call.axis("dim", rank)
    shape = next((value.shape for value in tensors if value.shape is not None), None)
    if shape is None:
        raise Undecodable(Reason.UNKNOWN_SHAPE, "the rank of what is stacked is not known before run time")
    steps = (Regrouping(shape, (*shape[:axis], 1, *shape[axis:])),)
    return Concatenation(axis, rank, (1,) * len(tensors), steps)


@FAMILY.operator("tensor_split")
def decode_tensor_split(call: AtenCall) -> Split:
    """Into a number of parts, or at given places. Source: torch.tensor_split."""
    shape = call.shape("self")
    axis = call.axis("dim", len(shape))
    length = known_length(shape, axis)
    if "sections" in call.node.arguments:
        count = int(call.fixed("sections"))
        sizes = [length // count + (place < length % count) for place in range(count)]
        stops = np.cumsum(sizes).tolist()
    else:
        stops = [*(_place(int(place), length) for place in listed(call.fixed("indices"))), length]
    parts = tuple(zip([0, *stops], stops, strict=False))
    if any(start > stop for start, stop in parts):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"the parts {parts} overlap")
    return Split(axis, len(shape), parts, length)


def _place(index: int, length: int) -> int:
    """Where a slice would cut."""
    return slice(index).indices(length)[1]


@FAMILY.operator("split", "split_with_sizes", "chunk")
@FAMILY.operator("unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", may_return_input=True)
def decode_split(call: AtenCall) -> Split:
    """split, split_with_sizes, chunk. Source: torch.split, torch.chunk."""
    shape = call.shape("self")
    call.require_parts()
    axis = call.axis("dim", len(shape))
    length = known_length(shape, axis)
    sizes = _sizes(call, length)
    if sum(sizes) != length or len(sizes) < len(call.node.outputs):
        raise malformed(f"parts of {sizes} do not make {length}")
    stops = list(itertools.accumulate(sizes))
    return Split(axis, len(shape), tuple(zip([0, *stops], stops, strict=False)), length)


def _sizes(call: AtenCall, length: int) -> list[int]:
    if "chunks" in call.node.arguments:
        size = -(-length // int(call.fixed("chunks")))
    else:
        size = call.fixed("split_sizes" if "split_sizes" in call.node.arguments else "split_size")
    if isinstance(size, (list, tuple)):
        return [int(part) for part in size]
    if length == 0 or size == 0:
        return [length]
    return [min(size, length - start) for start in range(0, length, size)]
