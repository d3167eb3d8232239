"""Operators that read images between and beside their places: grids, regions, crops."""

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason
from bnfold.semantics import Commuting, NoShift

FAMILY = Family()

_ZEROS_OUTSIDE = NoShift("places outside of the image are zeros")


def _sampled(node: OnnxNode) -> Shape | None:
    """As many places as the grid has."""
    image, grid = ((value.shape if value is not None else None) for value in node.inputs[:2])
    return None if image is None or grid is None else (*image[:2], *grid[1:-1])


@FAMILY.operator("GridSample", (16, 20, 22))
@FAMILY.operator("GridSample", (1,), domain="com.microsoft", traits=Traits(tell_output_shape=_sampled, type_of_input=0))
def decode_grid_sample(context: OnnxContext) -> Commuting:
    """Every place of y is a weighted mean of places of x.

    Source: ONNX GridSample-16, -20, -22, com.microsoft GridSample-1.
    """
    rank = len(context.shape(0))
    outside = context.attribute("padding_mode", b"zeros") == b"zeros"
    return Commuting(rank, mixed_axes=tuple(range(2, rank)), shift_factor=_ZEROS_OUTSIDE if outside else 1.0)


@FAMILY.operator("RoiAlign", (10, 16, 22))
def decode_roi_align(context: OnnxContext) -> Commuting:
    """Means or maxima of places between those of x, for regions of any image. Source: ONNX RoiAlign-10, -16, -22."""
    takes_maximum = context.attribute("mode", b"avg") == b"max"
    return _of_regions(needs_non_negative_scale=takes_maximum)


@FAMILY.operator("MaxRoiPool", (1, 22))
def decode_max_roi_pool(_context: OnnxContext) -> Commuting:
    """Maxima of regions of any image; a region without places makes zeros. Source: ONNX MaxRoiPool-1, -22."""
    return _of_regions(needs_non_negative_scale=True)


def _of_regions(*, needs_non_negative_scale: bool) -> Commuting:
    """Of the axes of x, (images, channels, height, width), y has the channels alone."""
    return Commuting(
        4, mixed_axes=(0, 2, 3), shift_factor=_ZEROS_OUTSIDE, needs_non_negative_scale=needs_non_negative_scale
    )


@FAMILY.operator("CenterCropPad", (18,))
def decode_center_crop_pad(context: OnnxContext) -> Commuting:
    """The middle of x, with zeros around it where it is too short. Source: ONNX CenterCropPad-18."""
    shape = context.shape(0)
    axes = [axis % len(shape) for axis in context.attribute("axes", None) or range(len(shape))]
    lengths = dict(zip(axes, context.integers(1), strict=True))
    known = [(shape[axis], length) for axis, length in lengths.items()]
    is_cropped = all(isinstance(before, int) and length <= before for before, length in known)
    cut = tuple(sorted(axis for axis, length in lengths.items() if length != shape[axis]))
    return Commuting(len(shape), mixed_axes=cut, shift_factor=1.0 if is_cropped else _ZEROS_OUTSIDE)


@FAMILY.operator("Trilu", (14,))
def decode_trilu(context: OnnxContext) -> Commuting:
    """One side of the last two axes, and zeros in the place of the other. Source: ONNX Trilu-14."""
    rank = len(context.shape(0))
    return Commuting(rank, mixed_axes=(rank - 2, rank - 1), shift_factor=NoShift("zeros are in the place of one side"))


@FAMILY.operator("TopK", (1, 10, 11, 24))
def decode_top_k(context: OnnxContext) -> Commuting:
    """The largest or smallest of an axis, sorted or not. Source: ONNX TopK-1 to -24."""
    places = context.node.outputs[1] if len(context.node.outputs) > 1 else None
    if places is not None and (places.readers or places.is_output):
        raise Undecodable(Reason.NOT_LINEAR, "the places of the largest are read, and equal scales could move them")
    rank = len(context.shape(0))
    return Commuting(rank, mixed_axes=(context.attribute("axis", -1) % rank,), needs_non_negative_scale=True)
