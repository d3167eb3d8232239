"""What the meanings compute, in float64 and as plainly as can be: the ground on which laws are tested."""

from dataclasses import replace
from functools import singledispatch

import numpy as np

from bnfold.affine import Affine
from bnfold.semantics import AffineMap, Contraction


def apply(affine, x):
    """scale * x + shift; a map that would change the shape of x is no map for x."""
    assert affine.rank == x.ndim
    y = affine.scale * x + affine.shift
    assert y.shape == x.shape, f"a map of shape {affine.scale.shape} widened a tensor of shape {x.shape} to {y.shape}"
    return y


@singledispatch
def evaluate(meaning, x):  # noqa: ARG001
    """The output of a node of this meaning for the activation x."""
    raise TypeError(f"{type(meaning).__name__} computes nothing")


@evaluate.register
def _(meaning: AffineMap, x):
    return apply(meaning.affine, x)


@evaluate.register
def _(meaning: Contraction, x):
    y = _convolve(meaning.weight, x) if meaning.weight.ndim > 3 else x @ meaning.weight[0].T
    assert y.ndim == meaning.output_rank
    assert y.shape[meaning.output_axis] == meaning.output_channels
    if meaning.bias is None:
        return y
    biased = y + meaning.bias
    assert biased.shape == y.shape, f"a bias of shape {meaning.bias.shape} widened the output of shape {y.shape}"
    return biased


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
    raise TypeError(f"no bound for {type(value).__name__}")


@absolute.register
def _(value: Affine):
    return Affine(np.abs(value.scale), np.abs(value.shift))


@absolute.register
def _(value: AffineMap):
    return replace(value, affine=absolute(value.affine))


@absolute.register
def _(value: Contraction):
    return replace(value, weight=np.abs(value.weight), bias=None if value.bias is None else np.abs(value.bias))
