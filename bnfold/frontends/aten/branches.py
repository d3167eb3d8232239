"""What merging branches asks of operators of PyTorch: which may be linear, which add, and how a convolution changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bnfold.frontends.aten.constants import AtenConstants, is_float
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.encode import encode
from bnfold.frontends.aten.node import AtenNode, AtenValue
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.windows import read_window
from bnfold.frontends.common.branches import average, with_bias_of_channels
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction

_AVERAGES = frozenset(("aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d"))
_SUMS = frozenset(("aten::add", "aten::sub", "aten::subtract", "aten::rsub"))
_CONVOLUTIONS = frozenset(("aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution", "aten::_convolution"))
_PRODUCTS = frozenset(("aten::addmm", "aten::bmm", "aten::linear", "aten::matmul", "aten::mm"))


def linear_input(node: AtenNode, constants: AtenConstants) -> int | None:
    """The one input in which a node may be linear, its others being constants; none where it writes to memory."""
    known = _AVERAGES | _CONVOLUTIONS | _PRODUCTS
    if node.sealed or node.writes or not (node.op in known or node.is_batch_norm or node.may_be_affine):
        return None
    open_slots = _open(node, constants)
    if len(open_slots) != 1 or not _keeps_type(node, [node.inputs[open_slots[0]]]):
        return None
    return open_slots[0]


def may_be_sum(node: AtenNode, constants: AtenConstants) -> bool:
    """Whether a node adds two tensors none of which is a constant, of its own type."""
    if node.operator.functional not in _SUMS or len(node.inputs) != 2:
        return False
    return len(_open(node, constants)) == 2 and _keeps_type(node, node.inputs)


def is_seen_elsewhere(value: AtenValue) -> bool:
    """Whether somebody asks for the form of a tensor alone, or reads it from another body than it is made in."""
    makers = {value.producer.within} if value.producer is not None else set()
    return any(not node.operator.reads_values(slot[0]) or {node.within} != makers for node, slot in value.readers)


def average_kernel(node: AtenNode, behind: Contraction | None, constants: AtenConstants) -> Contraction | None:
    """An average pooling as a convolution of each channel by itself, where it weighs the places at the borders alike.

    Args:
        node: any node.
        behind: what makes its input, where a contraction does: it knows the channels where no shape tells them.
        constants: of the program.

    Source: torch.nn.AvgPool2d
    """
    if node.op not in _AVERAGES:
        return None
    call = AtenCall(node, constants)
    try:
        shape, given = call.value("self").shape, call.fixed("kernel_size")
        axes = int(node.op[-2])
        kernel = tuple(given) * axes if len(given) == 1 else tuple(given)
        ceil_mode, counts_padding = call.fixed("ceil_mode"), call.fixed("count_include_pad")
        overridden = call.has("divisor_override")
    except Undecodable:
        return None
    window = read_window(call, kernel, "self")
    rank = len(shape) if shape is not None else behind.output_rank if behind is not None else 0
    axis = rank - axes - 1
    channels = behind.output_channels if behind is not None else shape[axis] if shape is not None else None
    if window is None or ceil_mode or overridden or axis < 0 or not isinstance(channels, int):
        return None
    return average(channels, kernel, rank, axis, window, counts_padding=counts_padding)


def encode_merged(
    node: AtenNode, before: Contraction, after: Contraction, constants: AtenConstants
) -> AtenEdit | Refusal:
    """The edit that gives a contraction a weight, groups and a window that may be others.

    Args:
        node: the node.
        before: what it means now.
        after: what it is to mean.
        constants: of the program.

    Returns:
        The edit; WRONG_AXIS where the bias is not one number for each output channel; BRANCHES_DIFFER where the
        operator cannot pad like that; what `encode` refuses.
    """
    merged = with_bias_of_channels(after)
    if isinstance(merged, Refusal):
        return merged
    geometry = _geometry(node, before, merged)
    if isinstance(geometry, Refusal):
        return geometry
    edit = encode(node, merged, constants)
    return edit if isinstance(edit, Refusal) else replace(edit, lists=geometry)


def _geometry(node: AtenNode, before: Contraction, after: Contraction) -> Mapping[str, int | Sequence[int]] | Refusal:
    """The arguments of a convolution that change."""
    old, new = before.window, after.window
    if old is None or new is None or not new.strides:
        return {}
    arguments: dict[str, int | Sequence[int]] = {}
    if before.weight.shape[0] != after.weight.shape[0]:
        arguments["groups"] = int(after.weight.shape[0])
    if new.strides != old.strides:
        arguments["stride"] = list(new.strides)
    kernel = after.weight.shape[3:]
    if any(size > 1 and a != b for size, a, b in zip(kernel, old.dilations, new.dilations, strict=True)):
        arguments["dilation"] = list(new.dilations)
    moved = (old.before, old.behind) != (new.before, new.behind)
    if isinstance(node.arguments["padding"], str) and (moved or kernel != before.weight.shape[3:]):
        return Refusal(Reason.BRANCHES_DIFFER, f"{node.label!r} pads as {node.arguments['padding']!r} says")
    if moved and new.before != new.behind:
        return Refusal(
            Reason.BRANCHES_DIFFER,
            f"together the branches pad {new.before} in front and {new.behind} behind, {node.op} pads both sides alike",
        )
    if moved:
        arguments["padding"] = list(new.before)
    return arguments


def _open(node: AtenNode, constants: AtenConstants) -> list[int]:
    """The inputs that are no constants."""
    return [slot for slot, value in enumerate(node.inputs) if isinstance(constants.read(value), Refusal)]


def _keeps_type(node: AtenNode, values: Sequence[AtenValue]) -> bool:
    """Whether the result has the one floating-point type of the tensors, as far as types are known."""
    types = {value.dtype for value in (*values, node.outputs[0]) if value is not None} - {None}
    return len(types) < 2 and all(map(is_float, types))
