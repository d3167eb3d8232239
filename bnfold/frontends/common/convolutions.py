"""Convolutions: weights as ONNX and PyTorch both store them, and as a contraction has them.

A contraction's weight is (groups, outputs per group, inputs per group, *kernel).
"""

from math import prod

from bnfold.affine import Array
from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.undecodable import malformed
from bnfold.semantics import Contraction, NoShift
from bnfold.weight import Weight
from bnfold.window import Window

ZEROS_PADDED = NoShift("zeros are padded, and would be shifted too")
PLACES_DIFFER = NoShift("places of the output see different parts of the kernel")


def divides(stored: AnyArray, groups: int) -> bool:
    """Whether a stored weight has a kernel, and the length of its first axis is a multiple of the groups."""
    return stored.ndim >= 3 and groups >= 1 and stored.shape[0] % groups == 0


def outputs_first(stored: AnyArray, groups: int) -> AnyArray:
    """A weight stored as (outputs, inputs per group, *kernel), in the contraction's layout."""
    grouped: AnyArray = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:])
    return grouped


def inputs_first(stored: AnyArray, groups: int) -> AnyArray:
    """A weight stored as (inputs, outputs per group, *kernel), of a transposed convolution, in that layout."""
    swapped: AnyArray = outputs_first(stored, groups).swapaxes(1, 2)
    return swapped


def stored_outputs_first(weight: AnyArray) -> AnyArray:
    """The inverse of `outputs_first`."""
    stored: AnyArray = weight.reshape(weight.shape[0] * weight.shape[1], *weight.shape[2:])
    return stored


def stored_inputs_first(weight: AnyArray) -> AnyArray:
    """The inverse of `inputs_first`."""
    return stored_outputs_first(weight.swapaxes(1, 2))


def has_one_place(weight: Weight) -> bool:
    """Whether the kernel of a weight in the contraction's layout has length 1 on every axis."""
    return prod(weight.shape[3:]) == 1


def convolution(
    weight: Weight, bias: Array | None, rank: int, axis: int, no_shift: NoShift | None, window: Window | None = None
) -> Contraction:
    """The contraction of a convolution, transposed or not.

    Args:
        weight: in the contraction's layout.
        bias: (outputs,), or None where there is none.
        rank: of input and output.
        axis: of the channels.
        no_shift: as in `Contraction`.
        window: likewise; None where the convolution is transposed.
    """
    channels = weight.channels
    if bias is not None:
        if bias.shape != (channels,):
            raise malformed(f"the bias has shape {bias.shape}, expected ({channels},)")
        bias = on_axis(bias, rank, axis)
    return Contraction(weight, bias, rank, output_axis=axis, input_axis=axis, no_shift=no_shift, window=window)


def on_axis(vector: Array, rank: int, axis: int) -> Array:
    """A vector along one axis of so many."""
    return vector.reshape((1,) * axis + (-1,) + (1,) * (rank - axis - 1))
