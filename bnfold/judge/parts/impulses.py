"""Half-precision weights read one by one, from outside: each was rounded once, or it was not.

A single 256 among zeros, and then 512, bring single weights of a convolution or a matrix product to the output: every
other product is zero, and the bias is the same both times, also behind a Relu that lets both through. The original's
part, computed in float32, says what the weight should be to seven digits; the new one's says what is stored. A weight
that was rounded once is within half a unit of its last place, and so is a bias, which zeros alone bring out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from bnfold.judge.channels import Array, eps
from bnfold.judge.elements import BFLOAT16, FLOAT16
from bnfold.judge.parts.finding import LocalFinding
from bnfold.judge.sites import Site
from bnfold.judge.structure import Structure

if TYPE_CHECKING:
    from onnx import NodeProto

HEIGHT = 256.0
_MOST_RUNS = 32
_TYPES = {FLOAT16: np.dtype(np.float16), BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
# Half a unit, and what the original's own rounding in float32 may blur.
_HALF = 0.505
_BLUR = 16.0
_CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOVES = ("Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_BENDING = ("LeakyRelu", "PRelu", "Relu")


@dataclass(frozen=True)
class Readable:
    """A site whose new part is one contraction: its weights can be read.

    Attributes:
        site: the site.
        source: the tensor that it reads.
        dtype: of the stored weight.
        bends: whether an activation stands behind it that has another slope for negative values.
        flat: whether everything behind the first axis of the source is one row.
        apart: how far impulses have to stand from each other on each axis behind the channels; () where every row of
            the source is a matter of its own and the channels are its last axis.
    """

    site: Site
    source: str
    dtype: "np.dtype[np.generic]"
    bends: bool
    flat: bool
    apart: tuple[int, ...]


def readable(site: Site, new: Structure) -> Readable | None:
    """The site if its weights can be read, else None.

    Its part has to be contractions of one tensor, side by side, with nothing behind them but constants added, joints
    that keep values apart, moves, and at the end an activation of two slopes.
    """
    nodes = [new.nodes[index] for index in site.new if new.nodes[index].output[0] not in new.constants]
    if len(site.boundary) != 1 or not nodes:
        return None
    source = site.boundary[0]
    flat = nodes[0].op_type == "Flatten" and not nodes[0].attribute
    start = nodes[0].output[0] if flat else source
    nodes = nodes[flat:]
    bends = bool(nodes) and nodes[-1].op_type in _BENDING
    nodes = nodes[: len(nodes) - bends]
    reaches = [_reach(node, start, new) for node in nodes if node.op_type in _CONTRACTIONS]
    others = [node for node in nodes if node.op_type not in _CONTRACTIONS]
    if not reaches or not all(_keeps_values_apart(node, new) for node in others):
        return None
    kinds = {(reach.dtype, len(reach.apart)) for reach in reaches if reach is not None}
    if None in reaches or len(kinds) != 1:
        return None
    dtype, _ = kinds.pop()
    apart = tuple(max(places) for places in zip(*(reach.apart for reach in reaches if reach is not None), strict=True))
    return Readable(site, source, dtype, bends, flat, apart)


@dataclass(frozen=True)
class _Reach:
    """The type of a contraction's weight, and how many places of each axis behind the channels one output sees."""

    dtype: "np.dtype[np.generic]"
    apart: tuple[int, ...]


def _reach(node: "NodeProto", source: str, new: Structure) -> _Reach | None:
    """Of a contraction of a tensor with a half-precision weight; None where it is none."""
    weight = new.parameter(node.input[1]) if len(node.input) > 1 else None
    if node.input[0] != source or weight is None or weight.data_type not in _TYPES:
        return None
    dtype = _TYPES[weight.data_type]
    attributes = {entry.name: entry for entry in node.attribute}
    if node.op_type in ("Conv", "ConvTranspose"):
        kernel = list(weight.dims[2:])
        dilations = list(attributes["dilations"].ints) if "dilations" in attributes else [1] * len(kernel)
        return _Reach(dtype, tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)))
    return _Reach(dtype, ()) if len(weight.dims) == 2 and "transA" not in attributes else None


def _keeps_values_apart(node: "NodeProto", new: Structure) -> bool:
    """Whether each number that comes out is one that goes in, but for a constant added."""
    if node.op_type == "Add":
        return any(new.parameter(name) is not None for name in node.input)
    return node.op_type in _MOVES


def alike(sites: Sequence[Readable]) -> list[Readable]:
    """Those that want the same kind of impulses as the first reader of their source: one row each, or apart."""
    first: dict[str, tuple[int, bool]] = {}
    return [
        entry
        for entry in sites
        if first.setdefault(entry.source, (len(entry.apart), entry.flat)) == (len(entry.apart), entry.flat)
    ]


def impulses(sites: Sequence[Readable], like: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Inputs that bring out every weight after some runs, or as many as a few dozen runs can.

    Args:
        sites: to read.
        like: real values of their sources, for shapes and types.
    """
    sources = {entry.source: entry for entry in sites}
    for entry in sites:  # one source, several readers: as far apart as the widest kernel needs
        widest = np.maximum(sources[entry.source].apart or (0,), entry.apart or (0,))
        if entry.apart and sources[entry.source].apart:
            sources[entry.source] = replace(entry, apart=tuple(int(n) for n in widest))
    runs = max((_runs(entry, _shape(entry, like)) for entry in sources.values()), default=0)
    for run in range(min(runs, _MOST_RUNS)):
        yield {
            name: _impulses(entry, _shape(entry, like), run).reshape(like[name].shape).astype(like[name].dtype)
            for name, entry in sources.items()
        }


def _shape(entry: Readable, like: Mapping[str, Array]) -> tuple[int, ...]:
    shape = like[entry.source].shape
    return (shape[0], prod(shape[1:])) if entry.flat else shape


def _cells(entry: Readable, shape: Sequence[int]) -> list[list[int]]:
    """Places on each axis but that of the channels."""
    if not entry.apart:
        return [list(range(length)) for length in shape[:-1]]
    spatial = [
        list(range(min(apart // 2, length - 1), length, apart))
        for length, apart in zip(shape[2:], entry.apart, strict=True)
    ]
    return [list(range(shape[0])), *spatial]


def _channels(entry: Readable, shape: Sequence[int]) -> int:
    return shape[1] if entry.apart else shape[-1]


def _runs(entry: Readable, shape: Sequence[int]) -> int:
    cells = prod(len(places) for places in _cells(entry, shape))
    return -(-_channels(entry, shape) // cells) if cells else 0


def _impulses(entry: Readable, shape: tuple[int, ...], run: int) -> Array:
    values = np.zeros(shape, np.float32)
    cells = np.stack(np.meshgrid(*_cells(entry, shape), indexing="ij"), axis=-1)
    cells = cells.reshape(-1, cells.shape[-1])
    channels = (run * len(cells) + np.arange(len(cells))) % _channels(entry, shape)
    places = [*cells.T, channels] if not entry.apart else [cells.T[0], channels, *cells.T[1:]]
    values[tuple(places)] = HEIGHT
    return values


@dataclass(frozen=True)
class Response:
    """What one part makes, in float32, of impulses, and of the same impulses twice as high."""

    once: Array
    twice: Array

    @property
    def weights(self) -> Array:
        """The weights that came out."""
        return (self.twice - self.once) / HEIGHT


def read_weights(entry: Readable, original: Response, new: Response) -> LocalFinding:
    """Whether every weight that came out was rounded once."""
    should, stored = original.weights, new.weights
    blur = _BLUR * eps(should.dtype) * (np.abs(should) + np.abs(original.once) / HEIGHT)
    if entry.bends:  # where the bend lies between the two heights, something else comes out
        straight = (original.once * original.twice > 0) & (new.once * new.twice > 0)
        should, stored = np.where(straight, should, 0), np.where(straight, stored, 0)
    return _rounded_once(entry, should, stored, blur, "has a weight that was not rounded once")


def read_bias(entry: Readable, exact: Array, base_b: Array) -> LocalFinding:
    """Whether the bias was rounded once.

    Args:
        entry: the site.
        exact: what the original's part makes of zeros.
        base_b: what the new part makes of them.
    """
    blur = _BLUR * eps(np.dtype(np.float32)) * np.abs(exact)
    return _rounded_once(entry, exact, base_b, blur, "has a bias that was not rounded once")


def _rounded_once(entry: Readable, should: Array, stored: Array, blur: Array, what: str) -> LocalFinding:
    should, stored = should.astype(np.float64), stored.astype(np.float64)
    allowed = _HALF * _unit(should, entry.dtype) + blur
    excess = np.abs(stored - should) / allowed
    place = np.unravel_index(int(np.argmax(excess)), excess.shape) if excess.size else ()
    if not place:
        return LocalFinding(entry.site.tensor, 0.0, 0.0, None, 0.0, 0.0)
    axis = 1 if entry.apart else -1
    worst, left, right = float(excess[place]), float(should[place]), float(stored[place])
    error = abs(right - left) / abs(left) if left else 0.0
    return LocalFinding(entry.site.tensor, worst, error, int(place[axis]), left, right, what if worst > 1 else "")


def _unit(values: Array, dtype: "np.dtype[np.generic]") -> Array:
    """The distance between neighbouring numbers of a type, at each value."""
    limits = ml_dtypes.finfo(dtype)
    magnitude = np.maximum(np.abs(values), float(limits.smallest_normal))
    return np.asarray(np.exp2(np.floor(np.log2(magnitude))) * float(limits.eps))
