"""One door from operators to meanings. Whatever is not fully understood comes out as Opaque."""

from collections.abc import Callable

from bnfold.frontends.aten.constants import AtenConstants, is_float
from bnfold.frontends.aten.decoders import affine_maps, commuting, contractions, joins, movement, norms, selections
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.graph import AtenNode, canonical, functional, operators
from bnfold.frontends.aten.memory import works_in_place
from bnfold.frontends.aten.removal import separations
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Commuting, Meaning, Opaque, Rearrangement


def _by_operator(table: dict[Callable[[AtenCall], Meaning], str]) -> dict[str, Callable[[AtenCall], Meaning]]:
    return {name: decoder for decoder, names in table.items() for name in operators(names)}


# By usual names; arithmetic has others as well (`canonical`).
DECODERS: dict[str, Callable[[AtenCall], Meaning]] = _by_operator(
    {
        norms.decode_batch_norm: "batch_norm cudnn_batch_norm miopen_batch_norm native_batch_norm"
        " _native_batch_norm_legit _native_batch_norm_legit_functional _native_batch_norm_legit_no_training"
        " _batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional",
        affine_maps.decode_div: "div",
        joins.decode_add: "add",
        joins.decode_sub: "sub",
        joins.decode_rsub: "rsub",
        joins.decode_mul: "mul",
        joins.decode_cat: "cat concat concatenate",
        contractions.decode_conv: "conv1d conv2d conv3d",
        contractions.decode_conv_transpose: "conv_transpose1d conv_transpose2d conv_transpose3d",
        contractions.decode_convolution: "convolution _convolution",
        contractions.decode_linear: "linear",
        contractions.decode_addmm: "addmm",
        contractions.decode_mat_mul: "matmul mm bmm",
        contractions.decode_einsum: "einsum",
        norms.decode_instance_norm: "instance_norm",
        norms.decode_group_norm: "group_norm native_group_norm",
        norms.decode_layer_norm: "layer_norm native_layer_norm",
        norms.decode_embedding: "embedding",
        norms.decode_recurrent: "lstm gru rnn_tanh rnn_relu",
        commuting.decode_ramp: "relu leaky_relu prelu _prelu_kernel abs",
        commuting.decode_neg: "neg negative",
        commuting.decode_average_pool: "avg_pool1d avg_pool2d avg_pool3d",
        commuting.decode_adaptive_average_pool: "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
        " _adaptive_avg_pool2d _adaptive_avg_pool3d",
        commuting.decode_max_pool: "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices"
        " max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        commuting.decode_mean: "mean",
        commuting.decode_sum: "sum",
        commuting.decode_extreme: "amax amin max min",
        commuting.decode_cumsum: "cumsum",
        commuting.decode_pad: "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d"
        " replication_pad1d replication_pad2d replication_pad3d",
        commuting.decode_upsample: "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d"
        " _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d"
        " upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
        movement.decode_identity: "alias clone contiguous detach detach_ lift_fresh lift_fresh_copy",
        movement.decode_dropout: "dropout feature_dropout alpha_dropout feature_alpha_dropout",
        movement.decode_conversion: "to _to_copy type_as",
        movement.decode_regrouping: "view reshape _unsafe_view _reshape_alias view_as reshape_as flatten unflatten"
        " squeeze unsqueeze",
        movement.decode_permute: "permute",
        movement.decode_transpose: "transpose swapaxes swapdims",
        movement.decode_turned: "t numpy_T mT",
        movement.decode_movedim: "movedim moveaxis",
        movement.decode_expand: "expand expand_as repeat",
        movement.decode_slice: "slice",
        movement.decode_narrow: "narrow",
        movement.decode_select: "select",
        movement.decode_split: "split split_with_sizes chunk unsafe_split unsafe_split_with_sizes unsafe_chunk",
        movement.decode_pixel_shuffle: "pixel_shuffle",
        movement.decode_pixel_unshuffle: "pixel_unshuffle",
        movement.decode_channel_shuffle: "channel_shuffle native_channel_shuffle",
        selections.decode_flip: "flip",
        selections.decode_roll: "roll",
        selections.decode_index_select: "index_select",
        selections.decode_index: "index",
        selections.decode_repeat_interleave: "repeat_interleave",
        selections.decode_unfold: "unfold",
        selections.decode_stack: "stack",
        selections.decode_tensor_split: "tensor_split",
    }
)

# Known to let neither a scale nor a shift through; everything else without a decoder may just be unknown to bnfold.
_NOT_LINEAR = operators(
    """
    _log_softmax _softmax celu clamp clamp_max clamp_min cos elu erf exp gelu glu hardsigmoid hardswish hardtanh log
    log_sigmoid log_softmax mish normalize pow reciprocal relu6 round rsqrt scaled_dot_product_attention selu sigmoid
    sign silu sin softmax softplus sqrt tan tanh threshold
    """
)


def decode(node: AtenNode, constants: AtenConstants) -> Meaning:
    """What a node means.

    Returns:
        The meaning; Opaque with the reason where the operator is foreign or unknown, writes to memory that others see,
        or does not have the constants, ranks and arguments that folding needs.
    """
    op = node.op
    if node.writes and not node.is_batch_norm:
        if not works_in_place(node):
            return Opaque(Reason.MUTATED, f"{node.op} writes to memory that is also seen elsewhere")
        op = functional(op)
    decoder = DECODERS.get(canonical(op))
    if decoder is None:
        return _without_rule(op)
    if not node.outputs or node.outputs[0] is None:
        return Opaque(Reason.MALFORMED, f"{node.op} has no first output")
    try:
        meaning = decoder(AtenCall(node, constants))
    except Undecodable as stop:
        return stop.opaque
    except (TypeError, ValueError, IndexError, KeyError) as error:
        return Opaque(Reason.MALFORMED, f"{node.op} cannot be read: {error}")
    return _checked(node, meaning)


def _without_rule(op: str) -> Opaque:
    if op in _NOT_LINEAR:
        return Opaque(Reason.NOT_LINEAR, f"{op} is not linear")
    if not op.startswith("aten::"):
        return Opaque(Reason.FOREIGN_DOMAIN, f"{op} is not an operator of PyTorch's own set")
    return Opaque(Reason.UNKNOWN_OPERATOR, f"{op} has no rule")


def _checked(node: AtenNode, meaning: Meaning) -> Meaning:
    """What holds for whole families: types are real and stay, and nobody changes what a removed node would read."""
    if isinstance(meaning, AffineMap):
        separate = separations(node, meaning.source)
        if isinstance(separate, Refusal):
            return Opaque(separate.reason, separate.evidence)
    if isinstance(meaning, Commuting) or (isinstance(meaning, Rearrangement) and not meaning.steps):
        types = {value.dtype for value in (node.inputs[meaning.source], node.outputs[0]) if value is not None}
        converts = isinstance(meaning, Rearrangement)
        if any(dtype is not None and not is_float(dtype) for dtype in types) or (
            len(types - {None}) > 1 and not converts
        ):
            return Opaque(Reason.NOT_LINEAR, f"{node.op} computes with {', '.join(sorted(map(str, types)))}")
    return meaning
