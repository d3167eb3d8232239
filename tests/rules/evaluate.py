"""What the meanings compute, in float64 and as plainly as can be: the ground on which laws are tested."""

from dataclasses import replace
from functools import reduce, singledispatch
from operator import mul

import numpy as np

from bnfold.affine import Affine, Widening
from bnfold.rearrange import Regrouping, Repetition, Selection, Transposition
from bnfold.semantics import (
    AffineMap,
    Attention,
    BiasedSum,
    BroadcastScale,
    Choice,
    Commuting,
    Concatenation,
    Contraction,
    Embedding,
    FusedContraction,
    MatrixProduct,
    Normalisation,
    Padding,
    Product,
    Rearrangement,
    Recurrent,
    Split,
    Sum,
)
from bnfold.weight import Weight


def apply(affine, x):
    """scale * x + shift; a map that would change the shape of x is no map for x, unless that is what it is for."""
    if isinstance(affine, Widening):
        assert not affine.has_shift
        return affine.scale * x
    assert affine.rank == x.ndim
    y = affine.scale * x + affine.shift
    assert y.shape == x.shape, f"a map of shape {affine.scale.shape} widened a tensor of shape {x.shape} to {y.shape}"
    return y


@singledispatch
def evaluate(meaning, inputs, core=None):  # noqa: ARG001
    """The outputs of a node of this meaning.

    inputs: tensors by index. core: the function that the meaning leaves open, such as which activation it is.
    """
    raise TypeError(f"{type(meaning).__name__} computes nothing")


@evaluate.register
def _(meaning: AffineMap, inputs, core=None):  # noqa: ARG001
    return (apply(meaning.affine, inputs[meaning.source]),)


@evaluate.register
def _(meaning: BroadcastScale, inputs, core=None):  # noqa: ARG001
    return (meaning.values * inputs[meaning.source],)


@evaluate.register
def _(meaning: Contraction, inputs, core=None):
    """core, if any, pads x before it is contracted."""
    x = inputs[meaning.source] if core is None else core(inputs[meaning.source])
    y = _convolve(meaning.weight.array, x) if meaning.weight.ndim > 3 else _multiply(meaning, x)
    assert y.ndim == meaning.output_rank
    assert y.shape[meaning.output_axis] == meaning.output_channels
    if meaning.bias is None:
        return (y,)
    biased = y + meaning.bias
    assert biased.shape == y.shape, f"a bias of shape {meaning.bias.shape} widened the output of shape {y.shape}"
    return (biased,)


@evaluate.register
def _(meaning: FusedContraction, inputs, core=None):
    """core, if any, is the activation."""
    (y,) = evaluate(meaning.contraction, inputs)
    if meaning.addend is not None:
        assert inputs[meaning.addend].shape == y.shape
        y = y + inputs[meaning.addend]
    return (y if core is None else core(y),)


@evaluate.register
def _(meaning: Commuting, inputs, core):
    x = inputs[meaning.source]
    assert x.ndim == meaning.rank
    y = core(x)
    assert y.ndim == x.ndim - len(meaning.removed_axes)
    return (y,)


@evaluate.register
def _(meaning: Padding, inputs, core=None):  # noqa: ARG001
    """Two places before and one behind."""
    x = inputs[meaning.source]
    around = [(2, 1) if axis in meaning.axes else (0, 0) for axis in range(meaning.rank)]
    return (np.pad(x, around, constant_values=meaning.value),)


@evaluate.register
def _(meaning: Rearrangement, inputs, core=None):
    """core, if any, holds the same steps with every length known."""
    x = inputs[meaning.source]
    for step in meaning.steps if core is None else core:
        x = move(step, x)
    return (x,)


@evaluate.register
def _(meaning: Concatenation, inputs, core=None):  # noqa: ARG001
    inputs = {**inputs, **meaning.constants}
    pieces = [reduce(lambda x, step: move(step, x), meaning.steps, inputs[index]) for index in meaning.inputs]
    whole = np.concatenate(pieces, axis=meaning.axis)
    return (reduce(lambda x, step: move(step, x), meaning.behind, whole),)


@evaluate.register
def _(meaning: Choice, inputs, core=None):
    """core, if any, makes the mask."""
    chosen = {**inputs, **meaning.constants}
    if meaning.by_size:
        return (reduce(np.maximum, chosen.values()),)
    return (np.where(meaning.mask if core is None else core(), *(chosen[index] for index in sorted(chosen))),)


@evaluate.register
def _(meaning: Split, inputs, core=None):  # noqa: ARG001
    x = inputs[meaning.source]
    assert x.shape[meaning.axis] == meaning.length
    return tuple(np.take(x, range(start, stop), axis=meaning.axis) for start, stop in meaning.parts)


@evaluate.register
def _(meaning: Sum, inputs, core=None):  # noqa: ARG001
    return (sum(operand.sign * inputs[index] for index, operand in enumerate(meaning.operands)),)


@evaluate.register
def _(meaning: BiasedSum, inputs, core=None):
    """core, if any, is the activation."""
    y = sum((inputs[index] for index in meaning.sources), start=meaning.bias)
    assert y.shape == inputs[meaning.sources[0]].shape
    return (y if core is None else core(y),)


@evaluate.register
def _(meaning: Product, inputs, core=None):  # noqa: ARG001
    bias = 0.0 if meaning.bias is None else meaning.bias
    return (reduce(mul, (inputs[index] for index in range(len(meaning.operands)))) + bias,)


@evaluate.register
def _(meaning: Attention, inputs, core=None):  # noqa: ARG001
    q, k, v = (inputs[index] for index in range(3))
    scores = q @ np.swapaxes(k, -1, -2)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True) @ v,)


@evaluate.register
def _(meaning: MatrixProduct, inputs, core=None):  # noqa: ARG001
    """As an einsum: what is summed is so along the same axes, in the order of each factor."""
    letters = "abcdefgh"[: meaning.rank]
    terms = []
    for index, factor in enumerate(meaning.factors):
        left_out = iter("wxyz")
        terms.append("".join(next(left_out) if axis is None else letters[axis] for axis in factor.axes))
        assert inputs[index].ndim == factor.rank
    x = [inputs[index] for index in (0, 1)]
    lengths = np.broadcast_shapes(*(_placed(meaning, index, x[index].shape) for index in (0, 1)))
    wide = [
        np.broadcast_to(
            each, [n if a is None else lengths[a] for a, n in zip(meaning.factors[i].axes, each.shape, strict=True)]
        )
        for i, each in enumerate(x)
    ]
    y = np.einsum(f"{terms[0]},{terms[1]}->{letters}", *wide)
    return (y if meaning.bias is None else y + meaning.bias,)


def _placed(meaning, index, shape):
    lengths = dict(zip(meaning.factors[index].axes, shape, strict=True))
    return [lengths.get(axis, 1) for axis in range(meaning.rank)]


@evaluate.register
def _(meaning: Normalisation, inputs, core):
    return (apply(meaning.affine, core(inputs[0])),)


@evaluate.register
def _(meaning: Embedding, inputs, core=None):  # noqa: ARG001
    index = inputs[1]
    assert index.ndim == meaning.index_rank
    return (np.take(meaning.values, index, axis=meaning.axis),)


@evaluate.register
def _(meaning: Recurrent, inputs, core=None):  # noqa: ARG001
    """What the gates see of the input: (directions, gates * hidden, sequence, batch)."""
    x = np.moveaxis(inputs[meaning.source], meaning.input_axis, 0)
    y = np.tensordot(meaning.weight, x, axes=1)
    return (y if meaning.bias is None else y + meaning.bias[:, :, None, None],)


@singledispatch
def move(step, x):  # noqa: ARG001
    """A step on data; every length must be known."""
    raise TypeError(f"{type(step).__name__} moves nothing")


@move.register
def _(step: Transposition, x):
    return np.transpose(x, step.permutation)


@move.register
def _(step: Regrouping, x):
    assert x.shape == step.source
    return x.reshape(step.target)


@move.register
def _(step: Selection, x):
    assert x.shape[step.axis] == step.length
    assert all(0 <= place < step.length for place in step.places)
    return np.take(x, np.array(step.places, np.intp), axis=step.axis)


@move.register
def _(step: Repetition, x):
    assert (1,) * (len(step.target) - step.source_rank) + x.shape == step.source
    return np.broadcast_to(x, step.target)


def _multiply(meaning, x):
    """One group, no kernel: the input channels of x become the output channels of y."""
    assert meaning.weight.shape[0] == 1
    y = np.moveaxis(x, meaning.input_axis, -1) @ meaning.weight.array[0].T
    return np.moveaxis(y, -1, meaning.output_axis)


def _convolve(weight, x):
    """Stride 1, no padding. weight: (groups, outputs, inputs, *kernel), x: (batch, groups * inputs, *space)."""
    groups, outputs, inputs, *kernel = weight.shape
    assert x.shape[1] == groups * inputs
    space = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=space)
    batch, places = x.shape[0], windows.shape[2 : x.ndim]
    windows = windows.reshape(batch, groups, inputs, *places, *kernel)
    p, k = "pqr"[: len(kernel)], "uvw"[: len(kernel)]
    return np.einsum(f"ngi{p}{k},goi{k}->ngo{p}", windows, weight).reshape(batch, groups * outputs, *places)


@singledispatch
def absolute(value):
    """The same with the absolute value of every parameter: what bounds the rounding errors of an evaluation."""
    return value


@absolute.register
def _(value: Affine):
    return Affine(np.abs(value.scale), np.abs(value.shift))


@absolute.register(AffineMap)
@absolute.register(Normalisation)
def _(value):
    return replace(value, affine=absolute(value.affine))


@absolute.register
def _(value: Contraction):
    bias = None if value.bias is None else np.abs(value.bias)
    return replace(value, weight=Weight(np.abs(value.weight.array)), bias=bias)


@absolute.register
def _(value: Recurrent):
    return replace(value, weight=np.abs(value.weight), bias=None if value.bias is None else np.abs(value.bias))


@absolute.register
def _(value: FusedContraction):
    return replace(value, contraction=absolute(value.contraction))


@absolute.register
def _(value: BroadcastScale):
    return replace(value, values=np.abs(value.values))


@absolute.register
def _(value: BiasedSum):
    return replace(value, bias=np.abs(value.bias))


@absolute.register
def _(value: Padding):
    return replace(value, value=abs(value.value))


@absolute.register
def _(value: Choice):
    return replace(value, constants={index: np.abs(values) for index, values in value.constants.items()})


@absolute.register
def _(value: Concatenation):
    return replace(value, constants={index: np.abs(values) for index, values in value.constants.items()})


@absolute.register
def _(value: Embedding):
    return replace(value, values=np.abs(value.values))


@absolute.register
def _(value: Sum):
    return replace(value, operands=tuple(replace(operand, sign=1.0) for operand in value.operands))
