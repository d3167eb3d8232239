"""What parts begin with: random values of many magnitudes, zeros, impulses; on a crop where that is enough."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils import _pytree as pytree

from bnfold.verifier.programs.parts.graph import Node

Array: TypeAlias = npt.NDArray[Any]

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
_SAMPLES = 1
_ROWS = 32
_MOST_IMPULSES = 64
_MOST_AT_ONCE, _MOST_ALONE, _MOST_DIAGONALS = 128, 2, 16
_HEIGHT = 2.0**20

PROBES: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("random values", lambda drawn: drawn),
    ("random values", lambda drawn: 16 * drawn),
    ("random values", lambda drawn: 1000 * drawn),
    ("negative values", lambda drawn: -3 * np.abs(drawn)),
    ("zeros", np.zeros_like),
)
"""Of what a part begins with, by name: both sides of every threshold are reached, and what is behind it."""


def probes(seen: Sequence[Any], *, seed: int) -> Iterator[list[Any]]:
    """Values to begin with, one list for each of `PROBES`.

    Args:
        seen: what the original had there: floating-point numbers are drawn, all else is kept.
        seed: of the numbers.
    """
    for number, (_, change) in enumerate(PROBES):
        rng = np.random.default_rng([seed, number])
        yield [pytree.tree_map(partial(_drawn, rng=rng, change=change), held) for held in seen]


def cropped_probes(seen: Sequence[Tensor], *, seed: int) -> list[Array]:
    """The same on a crop, all together: one behind the other on the first axis."""
    found = []
    rng = np.random.default_rng(seed)
    for held in seen:
        each = [_drawn(held, rng, change, _crop(held.shape)) for _, change in PROBES]
        found.append(np.concatenate(each))
    return found


def _drawn(
    held: Any,  # noqa: ANN401 - a tensor or anything else
    rng: np.random.Generator,
    change: Callable[[Array], Array],
    shape: Sequence[int] | None = None,
) -> Any:  # noqa: ANN401
    if not isinstance(held, Tensor) or not (held.is_floating_point() or held.is_complex()):
        return held
    parts = [
        change(rng.standard_normal(tuple(held.shape if shape is None else shape))) for _ in range(1 + held.is_complex())
    ]
    return parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]


def _crop(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) == 2:
        return _ROWS, shape[1]
    return (_SAMPLES, shape[1], *(min(size, _PLACES) for size in shape[2:]))


def impulses(seen: Sequence[Any], *, crop: bool, kernel: int) -> Iterator[list[Any]]:
    """Zeros alone, and zeros but for single numbers in one of the tensors: all of a kernel's weights, one by one.

    Where a crop will do, many of them run at once, as samples of one batch. Elsewhere all channels that stand last run
    at once, one in each row of the tensor, and of those on the second axis as many as can be, one by one.

    Args:
        seen: as in `probes`.
        crop: whether a crop will do.
        kernel: the longest side of a window in the part: strides are no longer.
    """
    yield [_with_impulses(held, (), 0.0, 1, crop) for held in seen]
    for which, held in enumerate(seen):
        if not isinstance(held, Tensor) or not held.is_floating_point() or held.dim() < 2 or not held.numel():
            continue
        for sign, batch in product((1.0, -1.0), _batches(tuple(held.shape), crop=crop, kernel=kernel)):
            yield [
                _with_impulses(other, batch if at == which else (), sign, len(batch), crop)
                for at, other in enumerate(seen)
            ]


def _batches(shape: tuple[int, ...], *, crop: bool, kernel: int) -> list[list[tuple[int, ...]]]:
    """Where the impulses of each run stand: sample, channel, place."""
    places = _places(_crop(shape) if crop else shape, kernel)
    if crop:
        return [list(_one_a_sample(places[at : at + _MOST_AT_ONCE])) for at in range(0, len(places), _MOST_AT_ONCE)]
    return [[(0, *place)] for place in places[:_MOST_ALONE]] + _one_a_row(shape)


def _one_a_sample(places: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    return ((sample, *place) for sample, place in enumerate(places))


def _one_a_row(shape: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """An impulse in each row of the last axis: as many runs as bring one to each of its channels, if they are few."""
    rows, length = list(np.ndindex(shape[:-1])), shape[-1]
    firsts = range(0, length, len(rows))[:_MOST_DIAGONALS]
    return [[(*row, (first + number) % length) for number, row in enumerate(rows)] for first in firsts]


def _with_impulses(held: Any, places: Sequence[tuple[int, ...]], sign: float, length: int, crop: bool) -> Any:  # noqa: ANN401
    if not isinstance(held, Tensor) or not held.is_floating_point():
        return held
    values = np.zeros((length, *_crop(held.shape)[1:]) if crop else tuple(held.shape))
    for place in places:
        values[place] = sign * _HEIGHT
    return values


def _places(shape: Sequence[int], kernel: int) -> list[tuple[int, ...]]:
    """Around the middle of each channel, or of as many as there may be: windows that jump meet each place once."""
    steps = range(1 if kernel == 1 else 2 if kernel <= 3 else 4)
    around = [
        tuple(min(size // 2 + step, size - 1) for step, size in zip(moved, shape[2:], strict=True))
        for moved in product(steps, repeat=len(shape) - 2)
    ]
    channels = range(0, shape[1], -(-shape[1] // _MOST_IMPULSES))
    return [(channel, *place) for channel in channels for place in dict.fromkeys(around)]


def bears_crop(nodes: Sequence[Node], seen: Sequence[Any]) -> bool:
    """Whether some nodes treat all samples and places alike, so that a crop shows all that they do.

    Args:
        nodes: of either part.
        seen: what the part begins with.
    """
    if not all(isinstance(held, Tensor) and held.is_floating_point() for held in seen):
        return False
    if len({tuple(held.shape[2:]) for held in seen}) != 1 or any(held.dim() < 2 or 0 in held.shape for held in seen):
        return False
    return all(_is_alike(node) for node in nodes)


def _is_alike(node: Node) -> bool:
    name = _name(node.op)
    if name in _ALIKE_IN_PLACES:
        return True
    return name in _ALIKE_WITH_PARAMETERS and not any(
        value.tensor is not None and value.tensor.dim() > 2 and value.tensor.shape[2:].numel() > 1
        for value in node.operands
    )


def _name(op: str) -> str:
    """conv2d, of aten.conv2d.default and aten::conv2d."""
    if "getitem" in op:
        return "getitem"
    return op.split("::")[-1] if "::" in op else op.split(".")[1] if op.startswith("aten.") else op
