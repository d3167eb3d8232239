"""How much of a tensor a part of a program has to be run on; see `bnfold.verifier.local.crop`, which reads ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bnfold.verifier.local.crop import Crop, Window
from bnfold.verifier.local.half_units import is_number
from bnfold.verifier.programs.parts.graph import Node

# Operators that treat all samples, and all places behind the second axis, alike.
_ALIKE_IN_PLACES = frozenset(
    {"conv1d", "conv2d", "conv3d", "_convolution", "convolution", "conv_transpose1d", "conv_transpose2d"}
    | {"conv_transpose3d", "batch_norm", "_native_batch_norm_legit_no_training", "relu", "relu_", "relu6", "relu6_"}
    | {"leaky_relu", "leaky_relu_", "sigmoid", "sigmoid_", "tanh", "silu", "silu_", "hardswish", "hardswish_"}
    | {"hardsigmoid", "hardsigmoid_", "hardtanh", "hardtanh_", "gelu", "elu", "prelu", "clamp", "max_pool2d"}
    | {"avg_pool2d", "max_pool1d", "avg_pool1d", "dropout", "dropout_", "linear", "addmm", "mm", "contiguous", "clone"}
    | {"detach", "neg", "getitem", "cudnn_batch_norm", "native_batch_norm"}
)
_ALIKE_WITH_PARAMETERS = frozenset({"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_"})
_PLACES = 10
_SHORTEST, _LONGEST_STRIDE = 5, 4
"""Of a window that is wider than one place: nothing is asked of dilations and strides."""
_MATRIX = 2


def crop_of(nodes: Sequence[Node], seen: Sequence[Any]) -> Crop:
    """What some nodes need, which have to treat all samples and places alike where a crop is to do.

    Args:
        nodes: of either part.
        seen: what the part begins with, arrays of these shapes and types, or anything else.
    """
    arrays = [held for held in seen if is_number(held) and held.ndim >= _MATRIX and held.size]
    if len(arrays) != len(seen) or len({array.shape[2:] for array in arrays}) != 1 or not all(map(_is_alike, nodes)):
        return Crop()
    if seen[0].ndim == _MATRIX:
        return Crop(any_samples=True)
    tensors = [value.tensor for node in nodes for value in node.operands if isinstance(value.tensor, Tensor)]
    kernel = max((side for tensor in tensors for side in tensor.shape[_MATRIX:]), default=1)
    window = Window(1, 1) if kernel == 1 else Window(max(kernel, _SHORTEST), min(kernel - 1, _LONGEST_STRIDE))
    return Crop(any_samples=True, side=_PLACES, window=window)


def _is_alike(node: Node) -> bool:
    name = _name(node.op)
    if name in _ALIKE_IN_PLACES:
        return True
    return name in _ALIKE_WITH_PARAMETERS and not any(
        isinstance(value.tensor, Tensor) and np.prod(value.tensor.shape[_MATRIX:]) > 1 for value in node.operands
    )


def _name(op: str) -> str:
    """conv2d, of aten.conv2d.default and aten::conv2d."""
    if "getitem" in op:
        return "getitem"
    return op.split("::")[-1] if "::" in op else op.split(".")[1] if op.startswith("aten.") else op
