"""The operators of PyTorch that bnfold knows: one row says all that it knows of an operator, or of several alike.

A new operator is a row here, with the functions that it names. Operators in place have no rows: they are the twins of
those that make a tensor of their own. What the schema of an operator says is not repeated (`schema.py`).
"""

import operator
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten import undo
from bnfold.frontends.aten.accepted_shapes import (
    Takes,
    accepted_by_convolution,
    accepted_by_either_convolution,
    accepted_by_embedding,
    accepted_by_layer_norm,
    accepted_by_linear,
    accepted_by_matmul,
    accepted_by_mm,
    accepted_by_norm_of_channels,
    accepted_by_recurrent,
    accepted_by_transposed_convolution,
)
from bnfold.frontends.aten.decoders import affine_maps, commuting, contractions, joins, movement, norms, selections
from bnfold.frontends.aten.encoders import arithmetic
from bnfold.frontends.aten.encoders import contractions as products
from bnfold.frontends.aten.encoders import norms as own_maps
from bnfold.frontends.aten.row import ALL, Keeps, Operator

_RANK_AND_TYPE = Keeps.RANK | Keeps.TYPE
_RANK_AND_CHANNELS = Keeps.RANK | Keeps.CHANNELS
_NORM_OF_CHANNELS = Takes("input", "weight", accepted_by_norm_of_channels)

_BATCH_NORMS = {
    "batch_norm cudnn_batch_norm miopen_batch_norm native_batch_norm": Operator(
        decode=norms.decode_batch_norm,
        encode=own_maps.encode_batch_norm,
        is_batch_norm=True,
        trains_by="training",
        keeps=Keeps.ALL,
        takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
    ),
    "_native_batch_norm_legit _native_batch_norm_legit_functional": Operator(
        decode=norms.decode_batch_norm,
        encode=own_maps.encode_batch_norm,
        is_batch_norm=True,
        keeps=Keeps.ALL,
        takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
    ),
    "_native_batch_norm_legit_no_training _batch_norm_no_update": Operator(
        decode=affine_maps.decode_inference_batch_norm,
        encode=own_maps.encode_batch_norm,
        is_batch_norm=True,
        keeps=Keeps.ALL,
        takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
    ),
    "_batch_norm_with_update _batch_norm_with_update_functional": Operator(
        decode=affine_maps.decode_training_batch_norm,
        is_batch_norm=True,
        keeps=Keeps.ALL,
        takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
    ),
}

_ARITHMETIC = {
    "add": Operator(decode=joins.decode_add, encode=arithmetic.encode_add),
    "sub subtract": Operator(decode=joins.decode_sub, encode=arithmetic.encode_sub),
    "rsub": Operator(decode=joins.decode_rsub, encode=arithmetic.encode_rsub),
    "mul multiply": Operator(decode=joins.decode_mul, encode=arithmetic.encode_mul),
    "div divide true_divide": Operator(decode=affine_maps.decode_div, encode=arithmetic.encode_div),
}

_PRODUCTS = {
    "conv1d conv2d conv3d": Operator(
        decode=contractions.decode_conv,
        encode=products.encode_conv,
        converts_in_autocast=True,
        keeps=_RANK_AND_TYPE,
        takes=Takes("input", "weight", accepted_by_convolution),
    ),
    "conv_transpose1d conv_transpose2d conv_transpose3d": Operator(
        decode=contractions.decode_conv_transpose,
        encode=products.encode_conv_transpose,
        converts_in_autocast=True,
        keeps=_RANK_AND_TYPE,
        takes=Takes("input", "weight", accepted_by_transposed_convolution),
    ),
    "convolution _convolution": Operator(
        decode=contractions.decode_convolution,
        encode=products.encode_convolution,
        converts_in_autocast=True,
        keeps=_RANK_AND_TYPE,
        takes=Takes("input", "weight", accepted_by_either_convolution),
    ),
    "linear": Operator(
        decode=contractions.decode_linear,
        encode=products.encode_linear,
        converts_in_autocast=True,
        keeps=_RANK_AND_TYPE,
        takes=Takes("input", "weight", accepted_by_linear),
    ),
    "addmm": Operator(
        decode=contractions.decode_addmm,
        encode=products.encode_addmm,
        converts_in_autocast=True,
        takes=Takes("mat1", "mat2", accepted_by_mm),
    ),
    "matmul": Operator(
        decode=contractions.decode_mat_mul,
        encode=products.encode_mat_mul,
        converts_in_autocast=True,
        takes=Takes("self", "other", accepted_by_matmul),
    ),
    "mm": Operator(
        decode=contractions.decode_mat_mul,
        encode=products.encode_mat_mul,
        converts_in_autocast=True,
        takes=Takes("self", "mat2", accepted_by_mm),
    ),
    "bmm": Operator(
        decode=contractions.decode_batched_mat_mul, encode=products.encode_mat_mul, converts_in_autocast=True
    ),
    "einsum": Operator(
        decode=contractions.decode_einsum,
        encode=products.encode_einsum,
        converts_in_autocast=True,
        may_return_input=True,
    ),
}

_NORMS_TABLES_AND_RECURRENCE = {
    "instance_norm": Operator(
        decode=norms.decode_instance_norm,
        encode=own_maps.encode_batch_norm,
        trains_by="use_input_stats",
        keeps=Keeps.ALL,
        takes=_NORM_OF_CHANNELS,
    ),
    "group_norm native_group_norm": Operator(
        decode=norms.decode_group_norm,
        encode=own_maps.encode_norm_of_channels,
        keeps=Keeps.ALL,
        takes=_NORM_OF_CHANNELS,
    ),
    "layer_norm native_layer_norm": Operator(
        decode=norms.decode_layer_norm,
        encode=own_maps.encode_layer_norm,
        keeps=Keeps.ALL,
        takes=Takes("input", "weight", accepted_by_layer_norm),
    ),
    "embedding": Operator(
        decode=norms.decode_embedding,
        encode=own_maps.encode_embedding,
        takes=Takes("indices", "weight", accepted_by_embedding),
    ),
    "lstm gru rnn_tanh rnn_relu": Operator(
        decode=norms.decode_recurrent,
        encode=own_maps.encode_recurrent,
        takes=Takes("input", "params", accepted_by_recurrent),
    ),
}

_WITHOUT_WEIGHTS = {
    "relu leaky_relu abs _prelu_kernel": Operator(decode=commuting.decode_ramp, keeps=Keeps.ALL),
    "prelu": Operator(decode=commuting.decode_ramp, converts_in_autocast=True, keeps=Keeps.ALL),
    "neg negative": Operator(decode=commuting.decode_neg, keeps=Keeps.ALL),
    "avg_pool1d avg_pool2d avg_pool3d": Operator(decode=commuting.decode_average_pool, keeps=Keeps.ALL),
    """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    """: Operator(decode=commuting.decode_adaptive_average_pool, keeps=Keeps.ALL),
    """
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    """: Operator(decode=commuting.decode_max_pool, keeps=Keeps.ALL),
    "mean": Operator(decode=commuting.decode_mean),
    "sum": Operator(decode=commuting.decode_sum),
    "amax amin max min": Operator(decode=commuting.decode_extreme),
    "cumsum": Operator(decode=commuting.decode_cumsum),
    "pad": Operator(decode=commuting.decode_pad, keeps=Keeps.ALL),
    "constant_pad_nd": Operator(decode=commuting.decode_constant_pad, keeps=Keeps.ALL),
    """
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    """: Operator(decode=commuting.decode_copying_pad, keeps=Keeps.ALL),
    """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    """: Operator(decode=commuting.decode_upsample, keeps=Keeps.ALL),
    """
    celu clamp clamp_max clamp_min clip cos elu erf exp gelu hardsigmoid hardswish hardtanh log log_sigmoid mish
    reciprocal relu6 round rsqrt selu sigmoid sign silu sin softplus sqrt square tan tanh threshold
    """: Operator(decode=commuting.decode_nonlinear, keeps=Keeps.ALL),
    "glu _log_softmax _softmax log_softmax softmax pow scaled_dot_product_attention": Operator(
        decode=commuting.decode_nonlinear
    ),
}

_MOVEMENT = {
    "alias clone detach lift_fresh_copy": Operator(
        decode=movement.decode_identity, undo=undo.undo_nothing, keeps=Keeps.ALL
    ),
    "contiguous": Operator(
        decode=movement.decode_identity, undo=undo.undo_nothing, depends_on_strides=True, keeps=Keeps.ALL
    ),
    "detach_": Operator(
        decode=movement.decode_identity, undo=undo.undo_nothing, changes_no_values=True, keeps=Keeps.ALL
    ),
    "lift_fresh": Operator(decode=movement.decode_identity, keeps=Keeps.ALL),
    "dropout feature_dropout alpha_dropout feature_alpha_dropout": Operator(
        decode=movement.decode_dropout, may_return_input=True, keeps=Keeps.ALL
    ),
    "to _to_copy": Operator(
        decode=movement.decode_conversion, undo=undo.undo_nothing, rounds=True, keeps=_RANK_AND_CHANNELS
    ),
    "type_as": Operator(
        decode=movement.decode_conversion,
        looks_at_form_of=frozenset({"other"}),
        may_return_input=True,
        keeps=_RANK_AND_CHANNELS,
    ),
    "squeeze unsqueeze": Operator(decode=movement.decode_regrouping, undo=undo.undo_regrouping),
    "view reshape": Operator(decode=movement.decode_regrouping, undo=undo.undo_regrouping, depends_on_strides=True),
    "flatten": Operator(
        decode=movement.decode_regrouping,
        undo=undo.undo_regrouping,
        depends_on_strides=True,
        may_return_input=True,
    ),
    "_unsafe_view": Operator(decode=movement.decode_regrouping, depends_on_strides=True, may_return_input=True),
    "_reshape_alias unflatten": Operator(decode=movement.decode_regrouping, depends_on_strides=True),
    "view_as reshape_as": Operator(
        decode=movement.decode_regrouping, depends_on_strides=True, looks_at_form_of=frozenset({"other"})
    ),
    "as_strided": Operator(depends_on_strides=True),
    "permute": Operator(decode=movement.decode_permute, undo=undo.undo_permute, keeps=_RANK_AND_TYPE),
    "transpose": Operator(decode=movement.decode_transpose, undo=undo.undo_transpose, keeps=_RANK_AND_TYPE),
    "swapaxes swapdims": Operator(decode=movement.decode_transpose, keeps=_RANK_AND_TYPE),
    "t": Operator(decode=movement.decode_turned, undo=undo.undo_t, keeps=_RANK_AND_TYPE),
    "numpy_T": Operator(decode=movement.decode_turned, keeps=_RANK_AND_TYPE),
    "mT": Operator(decode=movement.decode_matrix_transpose, keeps=_RANK_AND_TYPE),
    "movedim moveaxis": Operator(decode=movement.decode_movedim, keeps=_RANK_AND_TYPE),
    "expand": Operator(decode=movement.decode_expand, undo=undo.undo_expand),
    "expand_as": Operator(decode=movement.decode_expand, looks_at_form_of=frozenset({"other"})),
    "repeat": Operator(decode=movement.decode_repeat, undo=undo.undo_repeat),
    "slice": Operator(decode=movement.decode_slice, keeps=Keeps.ALL),
    "narrow": Operator(decode=movement.decode_narrow, keeps=Keeps.ALL),
    "select": Operator(decode=movement.decode_select),
    "split split_with_sizes chunk": Operator(decode=movement.decode_split),
    "unsafe_split unsafe_split_with_sizes unsafe_chunk": Operator(decode=movement.decode_split, may_return_input=True),
    "unbind": Operator(),  # frontends take it apart into selections
    "pixel_shuffle": Operator(decode=movement.decode_pixel_shuffle, may_return_input=True),
    "pixel_unshuffle": Operator(decode=movement.decode_pixel_unshuffle, may_return_input=True),
    "channel_shuffle": Operator(decode=movement.decode_channel_shuffle, may_return_input=True),
    "native_channel_shuffle": Operator(decode=movement.decode_channel_shuffle),
    "flip": Operator(decode=selections.decode_flip, keeps=Keeps.ALL),
    "roll": Operator(decode=selections.decode_roll, keeps=Keeps.ALL),
    "index_select": Operator(decode=selections.decode_index_select),
    "index": Operator(decode=selections.decode_index),
    "repeat_interleave": Operator(decode=selections.decode_repeat_interleave),
    "unfold": Operator(decode=selections.decode_unfold),
    "stack": Operator(decode=selections.decode_stack),
    "tensor_split": Operator(decode=selections.decode_tensor_split),
    "cat concat concatenate": Operator(decode=joins.decode_cat),
    """
    atleast_1d atleast_2d atleast_3d broadcast_tensors cartesian_prod chain_matmul conj_physical linalg_multi_dot
    meshgrid pin_memory set_ sum_to_size to_dense
    """: Operator(may_return_input=True),
}

_ABOUT_FORMS = {
    """
    size dim len numel sym_size sym_numel sym_stride stride is_floating_point is_complex device _assert_tensor_metadata
    prim::device prim::dtype prim::layout new_full new_ones new_zeros full_like ones_like rand_like zeros_like
    """: Operator(looks_at_form_of=ALL),
    "empty_like new_empty": Operator(looks_at_form_of=ALL, has_no_values=True),
    "empty empty_strided new_empty_strided _empty_affine_quantized": Operator(has_no_values=True),
    # What traced programs do to the sizes of tensors.
    "prim::NumToTensor": Operator(evaluate=torch.tensor),
    "Int IntImplicit": Operator(evaluate=int),
    "ScalarImplicit": Operator(evaluate=torch.Tensor.item),
    "mul.int": Operator(evaluate=operator.mul),
}


def _named(*tables: Mapping[str, Operator]) -> dict[str, Operator]:
    """The rows one by one, by qualified names."""
    rows: dict[str, Operator] = {}
    for names, row in (entry for table in tables for entry in table.items()):
        for name in names.split():
            qualified = name if "::" in name else f"aten::{name}"
            if qualified in rows:
                raise InternalError(f"{qualified} has two rows")
            rows[qualified] = replace(row, name=qualified)
    return rows


OPERATORS: Mapping[str, Operator] = _named(
    _BATCH_NORMS,
    _ARITHMETIC,
    _PRODUCTS,
    _NORMS_TABLES_AND_RECURRENCE,
    _WITHOUT_WEIGHTS,
    _MOVEMENT,
    _ABOUT_FORMS,
)


@cache
def operator_of(name: str) -> Operator:
    """What is known of an operator.

    Args:
        name: qualified, without overload.

    Returns:
        Its row; for an operator in place, what holds of the one that it is the twin of; nothing for any other.
    """
    row, twin = OPERATORS.get(name), OPERATORS.get(name.removesuffix("_"))
    if row is None and twin is not None:
        return Operator(name, decode=twin.decode, encode=twin.encode, keeps=twin.keeps)
    return row or Operator(name)
