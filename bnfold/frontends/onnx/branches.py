"""What merging branches asks of ONNX nodes: which may be linear, which add, and a convolution of another geometry."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.branches import average, with_bias_of_channels
from bnfold.frontends.onnx.attributes import ReferenceAttributeError, attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.decode import decode
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.encode import encode
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.operators.windows import read_window
from bnfold.rearrange import Transposition
from bnfold.refusal import Refusal
from bnfold.semantics import Contraction, Rearrangement

_OF_FIRST_INPUT = frozenset(("AveragePool", "BatchNormalization", "Conv", "Gemm"))
_OF_EITHER_INPUT = frozenset(("Add", "Div", "MatMul", "Mul", "Sub"))
_SUMS = frozenset(("Add", "Sub", "Sum"))


def linear_input(node: OnnxNode, constants: OnnxConstants) -> int | None:
    """The one input in which a node may be linear, its others being constants."""
    if not node.is_standard or node.proto.op_type not in _OF_FIRST_INPUT | _OF_EITHER_INPUT:
        return None
    open_slots = [slot for slot, value in enumerate(node.inputs) if value is not None and not constants.is_fixed(value)]
    if len(open_slots) != 1 or (node.proto.op_type in _OF_FIRST_INPUT and open_slots != [0]):
        return None
    return open_slots[0]


def may_be_sum(node: OnnxNode, constants: OnnxConstants) -> bool:
    """Whether a node adds tensors none of which is a constant."""
    if not node.is_standard or node.proto.op_type not in _SUMS or len(node.inputs) < 2:
        return False
    return not any(value is None or constants.is_fixed(value) for value in node.inputs)


def permutation(node: OnnxNode, constants: OnnxConstants) -> tuple[int, ...] | None:
    """How a Transpose orders the axes."""
    if not node.is_standard or node.proto.op_type != "Transpose":
        return None
    meaning = decode(node, constants)
    steps = meaning.steps if isinstance(meaning, Rearrangement) else ()
    return steps[0].permutation if len(steps) == 1 and isinstance(steps[0], Transposition) else None


def average_kernel(node: OnnxNode) -> Contraction | None:
    """An AveragePool as a convolution of each channel by itself, where it weighs the places at the borders alike.

    Source: ONNX AveragePool-7, -10, -11, -19, -22
    """
    source = node.inputs[0] if node.inputs else None
    if not node.is_standard or node.proto.op_type != "AveragePool" or source is None or source.shape is None:
        return None
    try:
        kernel = tuple(attribute(node, "kernel_shape", ()))
        counts_padding = attribute(node, "count_include_pad", 0)
        rounds_up = attribute(node, "ceil_mode", 0)
    except ReferenceAttributeError:
        return None
    window = read_window(node, kernel)
    channels = source.shape[1] if len(source.shape) == len(kernel) + 2 > 2 else None
    if window is None or not isinstance(channels, int) or rounds_up:
        return None
    return average(channels, kernel, len(source.shape), 1, window, counts_padding=bool(counts_padding))


def encode_merged(
    node: OnnxNode, before: Contraction, after: Contraction, constants: OnnxConstants
) -> OnnxEdit | Refusal:
    """The edit that gives a contraction a weight, groups and a window that may be others.

    Args:
        node: the node.
        before: what it means now.
        after: what it is to mean.
        constants: of the model.

    Returns:
        The edit; WRONG_AXIS where the bias is not one number for each output channel; what `encode` refuses.
    """
    merged = with_bias_of_channels(after)
    if isinstance(merged, Refusal):
        return merged
    if merged.bias is None and before.bias is not None:  # its input stays, with numbers that fit what it is to mean
        merged = replace(merged, bias=_no_bias(merged))
    edit = encode(node, merged, constants)
    return edit if isinstance(edit, Refusal) else replace(edit, attributes=_geometry(before, after))


def _no_bias(node: Contraction) -> Array:
    """A zero for each output channel."""
    shape = [1] * node.output_rank
    shape[node.output_axis] = node.output_channels
    return np.zeros(shape)


def _geometry(before: Contraction, after: Contraction) -> Mapping[str, int | Sequence[int] | None]:
    """The attributes of a Conv that change; None removes one."""
    old, new = before.window, after.window
    if old is None or new is None or not new.strides:
        return {}
    kernel = tuple(int(length) for length in after.weight.shape[3:])
    attributes: dict[str, int | Sequence[int] | None] = {}
    if before.weight.shape[0] != after.weight.shape[0]:
        attributes["group"] = int(after.weight.shape[0])
    if new.strides != old.strides:
        attributes["strides"] = new.strides
    if any(size > 1 and a != b for size, a, b in zip(kernel, old.dilations, new.dilations, strict=True)):
        attributes["dilations"] = new.dilations
    same_kernel = kernel == before.weight.shape[3:]
    if not same_kernel:
        attributes["kernel_shape"] = kernel
    if not same_kernel or attributes or (old.before, old.behind) != (new.before, new.behind):
        attributes |= {"pads": (*new.before, *new.behind), "auto_pad": None}
    return attributes
