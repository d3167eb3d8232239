"""Data movement: the same values in other places."""

import torch

from bnfold.frontends.aten.node import Shape
from bnfold.frontends.aten.operators import undo
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.dimensions import known_length, named
from bnfold.frontends.common.images import depth_to_space, space_to_depth
from bnfold.frontends.common.undecodable import IF_MEANT_FOR_INFERENCE, Undecodable, malformed
from bnfold.rearrange import Regrouping, Repetition, Selection, Transposition
from bnfold.refusal import Reason
from bnfold.semantics import Rearrangement

FAMILY = AtenFamily()
_RANK_AND_TYPE = Keeps.RANK | Keeps.TYPE
_RANK_AND_CHANNELS = Keeps.RANK | Keeps.CHANNELS


_REAL = (torch.float32, torch.float64)


@FAMILY.operator("alias", "clone", "detach", "lift_fresh_copy", undo=undo.undo_nothing, keeps=Keeps.ALL)
@FAMILY.operator("contiguous", undo=undo.undo_nothing, depends_on_strides=True, keeps=Keeps.ALL)
@FAMILY.operator("detach_", undo=undo.undo_nothing, changes_no_values=True, keeps=Keeps.ALL)
@FAMILY.operator("lift_fresh", keeps=Keeps.ALL)
def decode_identity(_call: AtenCall) -> Rearrangement:
    """clone, contiguous, detach, alias, ...: the same values."""
    return Rearrangement(())


@FAMILY.operator(
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", may_return_input=True, keeps=Keeps.ALL
)
def decode_dropout(call: AtenCall) -> Rearrangement:
    """Every dropout in inference passes its input on. Source: torch.nn.functional.dropout."""
    name = "train" if "train" in call.node.arguments else "training"
    if call.fixed(name):
        raise Undecodable(Reason.TRAINING_MODE, "the dropout is in training mode", IF_MEANT_FOR_INFERENCE)
    return Rearrangement(())


@FAMILY.operator("to", "_to_copy", undo=undo.undo_nothing, rounds=True, keeps=_RANK_AND_CHANNELS)
@FAMILY.operator("type_as", looks_at_form_of=frozenset({"other"}), may_return_input=True, keeps=_RANK_AND_CHANNELS)
def decode_conversion(call: AtenCall) -> Rearrangement:
    """to, _to_copy, type_as: between float32 and float64, whose ranges hold what inference computes, or no change."""
    source, target = call.value("self").dtype, call.node.outputs[0]
    result = target.dtype if target is not None else None
    same = source is not None and source == result and source.is_floating_point
    if not same and (source not in _REAL or result not in _REAL):
        raise Undecodable(
            Reason.NOT_LINEAR, "only a conversion between float32 and float64 keeps range and digits of the map"
        )
    return Rearrangement(())


@FAMILY.operator("squeeze", "unsqueeze", undo=undo.undo_regrouping)
@FAMILY.operator("view", "reshape", undo=undo.undo_regrouping, depends_on_strides=True)
@FAMILY.operator("flatten", undo=undo.undo_regrouping, depends_on_strides=True, may_return_input=True)
@FAMILY.operator("_unsafe_view", depends_on_strides=True, may_return_input=True)
@FAMILY.operator("_reshape_alias", "unflatten", depends_on_strides=True)
@FAMILY.operator("view_as", "reshape_as", depends_on_strides=True, looks_at_form_of=frozenset({"other"}))
def decode_regrouping(call: AtenCall) -> Rearrangement:
    """view, reshape, flatten, unflatten, squeeze, unsqueeze. Source: torch.reshape."""
    if "dtype" in call.node.arguments:
        raise Undecodable(Reason.NOT_LINEAR, "the bytes are read as another type")
    return Rearrangement((Regrouping(call.shape("self"), call.output_shape()),))


@FAMILY.operator("permute", undo=undo.undo_permute, keeps=_RANK_AND_TYPE)
def decode_permute(call: AtenCall) -> Rearrangement:
    """Source: torch.permute."""
    rank = len(call.shape("self"))
    return _transposition([axis % max(rank, 1) for axis in call.fixed("dims")], rank)


@FAMILY.operator("transpose", undo=undo.undo_transpose, keeps=_RANK_AND_TYPE)
@FAMILY.operator("swapaxes", "swapdims", keeps=_RANK_AND_TYPE)
def decode_transpose(call: AtenCall) -> Rearrangement:
    """transpose, swapaxes, swapdims. Source: torch.transpose."""
    rank = len(call.shape("self"))
    names = ("dim0", "dim1") if "dim0" in call.node.arguments else ("axis0", "axis1")
    first, second = (call.axis(name, rank) for name in names)
    order = list(range(rank))
    if order:
        order[first], order[second] = order[second], order[first]
    return _transposition(order, rank)


@FAMILY.operator("t", undo=undo.undo_t, keeps=_RANK_AND_TYPE)
@FAMILY.operator("numpy_T", keeps=_RANK_AND_TYPE)
def decode_turned(call: AtenCall) -> Rearrangement:
    """Operators t and numpy_T turn all axes around. Source: torch.t, torch.Tensor.T."""
    rank = len(call.shape("self"))
    return _transposition(list(range(rank))[::-1], rank)


@FAMILY.operator("mT", keeps=_RANK_AND_TYPE)
def decode_matrix_transpose(call: AtenCall) -> Rearrangement:
    """MT swaps the last two axes. Source: torch.Tensor.mT."""
    rank = len(call.shape("self"))
    return _transposition([*range(rank - 2), rank - 1, rank - 2], rank)


@FAMILY.operator("movedim", "moveaxis", keeps=_RANK_AND_TYPE)
def decode_movedim(call: AtenCall) -> Rearrangement:
    """Source: torch.movedim."""
    rank = len(call.shape("self"))
    source, destination = call.fixed("source"), call.fixed("destination")
    sources = [axis % rank for axis in (source if isinstance(source, (list, tuple)) else [source])]
    targets = [axis % rank for axis in (destination if isinstance(destination, (list, tuple)) else [destination])]
    rest = iter(axis for axis in range(rank) if axis not in sources)
    placed = dict(zip(targets, sources, strict=True))
    return _transposition([placed[axis] if axis in placed else next(rest) for axis in range(rank)], rank)


@FAMILY.operator("expand", undo=undo.undo_expand)
@FAMILY.operator("expand_as", looks_at_form_of=frozenset({"other"}))
def decode_expand(call: AtenCall) -> Rearrangement:
    """Expand and expand_as. Source: torch.Tensor.expand."""
    return Rearrangement((_repetition(call),))


@FAMILY.operator("repeat", undo=undo.undo_repeat)
def decode_repeat(call: AtenCall) -> Rearrangement:
    """Of axes of length 1, it does what expand does. Source: torch.Tensor.repeat."""
    repetition = _repetition(call)
    pairs = zip(call.fixed("repeats"), repetition.source, strict=True)
    if any(count != 1 and length != 1 for count, length in pairs):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "repeat of an axis that is longer than 1 has no rule")
    return Rearrangement((repetition,))


def _repetition(call: AtenCall) -> Repetition:
    source, target = call.shape("self"), call.output_shape()
    return Repetition((1,) * (len(target) - len(source)) + source, target, len(source))


@FAMILY.operator("slice", keeps=Keeps.ALL)
def decode_slice(call: AtenCall) -> Rearrangement:
    """Source: torch.Tensor.__getitem__ with a slice."""
    shape = call.shape("self")
    axis = call.axis("dim", len(shape))
    start, stop, step = (call.fixed(name) for name in ("start", "end", "step"))
    takes_all = start in (None, 0) and (stop is None or stop >= 2**63 - 1) and step == 1
    if takes_all and not isinstance(shape[axis], int):
        return Rearrangement(())
    length = known_length(shape, axis)
    return Rearrangement((Selection(axis, range(length)[start:stop:step], length),))


@FAMILY.operator("narrow", keeps=Keeps.ALL)
def decode_narrow(call: AtenCall) -> Rearrangement:
    """Source: torch.narrow."""
    shape = call.shape("self")
    axis = call.axis("dim", len(shape))
    length = known_length(shape, axis)
    start = int(call.fixed("start")) % max(length, 1)
    return Rearrangement((Selection(axis, range(start, start + int(call.fixed("length"))), length),))


@FAMILY.operator("select")
def decode_select(call: AtenCall) -> Rearrangement:
    """One place of an axis, which vanishes. Source: torch.select."""
    shape = call.shape("self")
    axis = call.axis("dim", len(shape))
    length = known_length(shape, axis)
    taking = Selection(axis, (int(call.fixed("index")) % length,), length)
    one: Shape = (*shape[:axis], 1, *shape[axis + 1 :])
    return Rearrangement((taking, Regrouping(one, (*shape[:axis], *shape[axis + 1 :]))))


@FAMILY.operator("pixel_shuffle", may_return_input=True)
def decode_pixel_shuffle(call: AtenCall) -> Rearrangement:
    """Channels become places: (C r r, H, W) to (C, H r, W r). Source: torch.nn.PixelShuffle."""
    return depth_to_space(_image(call), int(call.fixed("upscale_factor")))


@FAMILY.operator("pixel_unshuffle", may_return_input=True)
def decode_pixel_unshuffle(call: AtenCall) -> Rearrangement:
    """Places become channels: (C, H r, W r) to (C r r, H, W). Source: torch.nn.PixelUnshuffle."""
    return space_to_depth(_image(call), int(call.fixed("downscale_factor")))


@FAMILY.operator("channel_shuffle", may_return_input=True)
@FAMILY.operator("native_channel_shuffle")
def decode_channel_shuffle(call: AtenCall) -> Rearrangement:
    """Channels (g, c) become (c, g). Source: torch.nn.ChannelShuffle."""
    batch, channels, *space = named(call.shape("self"))
    groups = int(call.fixed("groups"))
    if not isinstance(channels, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, "the number of channels is not known before run time")
    inner = channels // groups
    order = (0, 2, 1, *range(3, 3 + len(space)))
    return Rearrangement(
        (
            Regrouping((batch, channels, *space), (batch, groups, inner, *space)),
            Transposition(order),
            Regrouping((batch, inner, groups, *space), (batch, channels, *space)),
        )
    )


def _transposition(order: list[int], rank: int) -> Rearrangement:
    if sorted(order) != list(range(rank)):
        raise malformed(f"axes {order} are no order of {rank} axes")
    return Rearrangement((Transposition(tuple(order)),))


def _image(call: AtenCall) -> Shape:
    shape = call.shape("self")
    if len(shape) < 3:
        raise malformed(f"{call.node.op} has an input of rank {len(shape)}, expected 3 at least")
    return shape
