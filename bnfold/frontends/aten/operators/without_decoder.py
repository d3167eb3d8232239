"""Operators that have no rule, and of which something is known all the same: about memory, forms, numbers."""

import operator

import torch

from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import ALL

FAMILY = AtenFamily()

FAMILY.without_decoder("as_strided", depends_on_strides=True)
FAMILY.without_decoder("unbind")  # the frontends read it as selections
FAMILY.without_decoder(
    *"""
    atleast_1d atleast_2d atleast_3d broadcast_tensors cartesian_prod chain_matmul conj_physical
    linalg_multi_dot meshgrid pin_memory set_ sum_to_size to_dense
    """.split(),  # noqa: SIM905 - a list of strings would take many lines
    may_return_input=True,
)
FAMILY.without_decoder(
    *"""
    size dim len numel sym_size sym_numel sym_stride stride is_floating_point is_complex device
    _assert_tensor_metadata prim::device prim::dtype prim::layout new_full new_ones new_zeros full_like
    ones_like rand_like zeros_like
    """.split(),  # noqa: SIM905 - a list of strings would take many lines
    looks_at_form_of=ALL,
)
FAMILY.without_decoder("empty_like", "new_empty", looks_at_form_of=ALL, has_no_values=True)
FAMILY.without_decoder("empty", "empty_strided", "new_empty_strided", "_empty_affine_quantized", has_no_values=True)
FAMILY.without_decoder("prim::NumToTensor", evaluate=torch.tensor)
FAMILY.without_decoder("Int", "IntImplicit", evaluate=int)
FAMILY.without_decoder("ScalarImplicit", evaluate=torch.Tensor.item)
FAMILY.without_decoder("mul.int", evaluate=operator.mul)
