"""Blocks of an image that become channels, and channels that become blocks: DepthToSpace, PixelShuffle, and back."""

from bnfold.frontends.common.dimensions import named, times
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.rearrange import Regrouping, Transposition
from bnfold.refusal import Reason
from bnfold.regrouping import Dim
from bnfold.semantics import Rearrangement


def depth_to_space(shape: tuple[Dim, ...], block: int, *, depth_first: bool = False) -> Rearrangement:
    """(..., C b b, H, W) to (..., C, H b, W b).

    Args:
        shape: of the tensor, of rank 3 at least.
        block: b, how many places a block has on each side.
        depth_first: whether channels count the places of a block first, then C.

    Source:
        ONNX DepthToSpace-13 (modes DCR and CRD), torch.nn.PixelShuffle
    """
    *batch, channels, height, width = named(shape)
    if not isinstance(channels, int) or channels % (block * block):
        evidence = f"{channels} channels are not known to be a multiple of {block * block}"
        raise Undecodable(Reason.UNKNOWN_SHAPE, evidence)
    inner = channels // (block * block)
    split = (block, block, inner) if depth_first else (inner, block, block)
    return _rearranged(
        (*batch, channels, height, width),
        (*batch, *split, height, width),
        (2, 3, 0, 4, 1) if depth_first else (0, 3, 1, 4, 2),
        (*batch, inner, times(height, block), times(width, block)),
    )


def space_to_depth(shape: tuple[Dim, ...], block: int, *, depth_first: bool = False) -> Rearrangement:
    """(..., C, H b, W b) to (..., C b b, H, W), with the arguments of `depth_to_space`.

    Source:
        ONNX SpaceToDepth-13, torch.nn.PixelUnshuffle
    """
    *batch, channels, height, width = named(shape)
    if not isinstance(height, int) or not isinstance(width, int) or not isinstance(channels, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, "height, width or channels are not known before run time")
    rows, columns = height // block, width // block
    return _rearranged(
        (*batch, channels, height, width),
        (*batch, channels, rows, block, columns, block),
        (2, 4, 0, 1, 3) if depth_first else (0, 2, 4, 1, 3),
        (*batch, channels * block * block, rows, columns),
    )


def _rearranged(
    shape: tuple[Dim, ...], split: tuple[Dim, ...], order: tuple[int, ...], target: tuple[Dim, ...]
) -> Rearrangement:
    """Regrouped, with the last five axes in another order, and regrouped again."""
    lead = len(split) - len(order)
    permutation = (*range(lead), *(lead + axis for axis in order))
    spread = tuple(split[axis] for axis in permutation)
    return Rearrangement((Regrouping(shape, split), Transposition(permutation), Regrouping(spread, target)))
