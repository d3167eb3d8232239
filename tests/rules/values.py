"""Hypothesis strategies for maps, meanings and tensors: small shapes, numbers from 1e-25 to 1e25 and zero."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnfold.affine import Affine
from bnfold.semantics import AffineMap, Contraction, Form, Meaning
from bnfold.weight import Weight

_MAGNITUDES = st.floats(1e-25, 1e25) | st.floats(0.1, 10.0) | st.sampled_from([1e-25, 1.0, 1e25])
NUMBERS = st.builds(lambda sign, size: sign * size, st.sampled_from([1.0, -1.0, 0.0]), _MAGNITUDES)
LENGTHS = st.integers(1, 4)


def arrays(*shape, elements=NUMBERS):
    return hnp.arrays(np.float64, shape, elements=elements)


def tensors(rank, channels, axis):
    """A tensor of this rank with so many channels on the axis, and any length along the others."""
    lengths = st.lists(LENGTHS, min_size=rank, max_size=rank)
    return lengths.map(lambda dims: (*dims[:axis], channels, *dims[axis + 1 :])).flatmap(lambda dims: arrays(*dims))


def any_tensors():
    """A tensor of rank 0 to 4."""
    return st.lists(LENGTHS, max_size=4).flatmap(lambda dims: arrays(*dims))


@st.composite
def maps_along(draw, rank, axis, channels):
    """A map over one axis; its scale and its shift each have one entry, or one per channel."""

    def part():
        shape = [1] * rank
        shape[axis] = draw(st.sampled_from([1, channels]))
        return draw(arrays(*shape))

    return Affine(part(), part())


@st.composite
def parts_of(draw, shape):
    """An array that broadcasts against a tensor of this shape: each dimension 1 or the tensor's."""
    return draw(arrays(*(draw(st.sampled_from([1, length])) for length in shape)))


@st.composite
def maps_of(draw, shape):
    """A map that varies along any axes of a tensor of this shape."""
    return Affine(draw(parts_of(shape)), draw(parts_of(shape)))


@dataclass(frozen=True)
class Case:
    """A node, the tensors that it reads, and the function that its meaning leaves open (see `evaluate`).

    bounding: the function that bounds rounding errors, where it is another than the function itself.
    """

    node: Meaning
    inputs: Mapping[int, np.ndarray]
    core: Any = None
    bounding: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def x(self):
        """The activation."""
        return self.inputs[getattr(self.node, "source", 0)]

    @property
    def bound(self):
        return self.bounding or self.core


def numbers(shape, seed):
    """Numbers of all sizes, signs and zero: as `arrays`, but fast; shrinking changes the shape and the seed."""
    rng = np.random.default_rng(seed)
    sizes = np.where(rng.random(shape) < 0.5, 10 ** rng.uniform(-25, 25, shape), rng.uniform(0.1, 10, shape))
    return rng.choice([1.0, -1.0, 0.0], size=shape, p=[0.5, 0.4, 0.1]) * sizes


SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.lists(LENGTHS, max_size=4).map(tuple)


@st.composite
def parameters(draw, shape, neutral, axes=None):
    """A scale or a shift: neutral, uniform or varying along some of the axes, with one or all entries along others."""
    kind = draw(st.sampled_from(["neutral", "uniform", "varying", "varying", "varying"]))
    allowed = range(len(shape)) if axes is None else axes
    varying = [axis for axis in allowed if draw(st.booleans())] if kind == "varying" else []
    compact = tuple(length if axis in varying else 1 for axis, length in enumerate(shape))
    values = np.full(compact, neutral) if kind == "neutral" else numbers(compact, draw(SEEDS))
    stored = tuple(draw(st.sampled_from([old, length])) for old, length in zip(compact, shape, strict=True))
    return np.broadcast_to(values, stored).copy()


@st.composite
def maps(draw, shape, axes=None):
    """A map for a tensor of this shape that varies along no other than these axes; see `parameters`."""
    return Affine(draw(parameters(shape, 1.0, axes)), draw(parameters(shape, 0.0, axes)))


@st.composite
def batch_norms(draw):
    """A map over axis 1, as a BatchNorm has it."""
    rank, channels = draw(st.integers(2, 5)), draw(LENGTHS)
    vectors = [draw(arrays(channels)).reshape(channels, *(1,) * (rank - 2))[None] for _ in range(2)]
    node = AffineMap(Affine(*vectors), Form.SCALE_AND_SHIFT, channel_axis=1)
    return Case(node, {0: draw(tensors(rank, channels, 1))})


@st.composite
def multiplications(draw):
    """Mul or Div by a constant along any axes, on either side."""
    x = draw(any_tensors())
    scale = draw(parts_of(x.shape))
    source = draw(st.integers(0, 1))
    return Case(AffineMap(Affine(scale, np.zeros_like(scale)), Form.SCALE, source), {source: x})


@st.composite
def additions(draw):
    """Add or Sub of a constant along any axes, on either side: c - x has scale -1."""
    x = draw(any_tensors())
    sign = np.full((1,) * x.ndim, draw(st.sampled_from([1.0, -1.0])))
    source = draw(st.integers(0, 1))
    return Case(AffineMap(Affine(sign, draw(parts_of(x.shape))), Form.SHIFT, source), {source: x})


@st.composite
def convolutions(draw):
    """Conv and ConvTranspose of one to three dimensions; the bias is absent or one per channel."""
    groups, outputs, inputs = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    weight = draw(arrays(groups, outputs, inputs, *kernel))
    rank = 2 + len(kernel)
    bias = draw(st.none() | arrays(1, groups * outputs, *(1,) * len(kernel)))
    space = [size + draw(st.integers(0, 1)) for size in kernel]
    x = draw(arrays(draw(st.integers(1, 2)), groups * inputs, *space))
    return Case(Contraction(Weight(weight), bias, output_rank=rank, output_axis=1), {0: x})


@st.composite
def products(draw):
    """Gemm and MatMul: the output channels are on the last axis, the bias broadcasts against the output."""
    inputs, outputs, rank = draw(LENGTHS), draw(LENGTHS), draw(st.integers(1, 4))
    x = draw(tensors(rank, inputs, rank - 1))
    bias = draw(st.none() | parts_of((*x.shape[:-1], outputs)))
    node = Contraction(
        Weight(draw(arrays(1, outputs, inputs))),
        bias,
        output_rank=rank,
        output_axis=rank - 1,
        input_axis=rank - 1,
        holds_bias=rank == 2,
    )
    return Case(node, {0: x})


@st.composite
def einsums(draw):
    """Channels on any axis of either side: Gemm with transA, MatMul with the constant on the left, Einsum."""
    inputs, outputs, rank = draw(LENGTHS), draw(LENGTHS), draw(st.integers(1, 4))
    input_axis, output_axis = draw(st.integers(0, rank - 1)), draw(st.integers(0, rank - 1))
    x = draw(tensors(rank, inputs, input_axis))
    kept = [length for axis, length in enumerate(x.shape) if axis != input_axis]
    bias = draw(st.none() | parts_of((*kept[:output_axis], outputs, *kept[output_axis:])))
    weight, source = draw(arrays(1, outputs, inputs)), draw(st.integers(0, 1))
    axes = {"output_axis": output_axis, "input_axis": input_axis, "source": source}
    return Case(Contraction(Weight(weight), bias, output_rank=rank, holds_bias=False, **axes), {source: x})


CONTRACTIONS = convolutions() | products() | einsums()
