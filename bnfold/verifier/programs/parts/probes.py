"""What parts begin with: random values of many magnitudes, zeros, impulses; on a corner where that is enough."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch.utils import _pytree as pytree

from bnfold.verifier.programs.parts.graph import Node

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
_PLACES = 12
_SAMPLES = 2
_ROWS = 32
_MOST_IMPULSES = 64
_MOST_AT_ONCE = 128
_HEIGHT = 2.0**20


def probes(seen: Sequence[Any], *, small: bool, seed: int) -> Iterator[tuple[str, list[Any]]]:
    """Values to begin with, and how messages call them.

    Args:
        seen: what the original had there: floating-point numbers are drawn, all else is kept.
        small: whether a corner will do.
        seed: of the numbers.
    """
    for number, (name, change) in enumerate(_magnitudes()):
        generator = torch.Generator().manual_seed(seed * 100 + number)
        yield name, [pytree.tree_map(lambda held: _drawn(held, generator, change, small), held) for held in seen]  # noqa: B023


def _magnitudes() -> Iterator[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
    """Of what a part begins with: both sides of every threshold are reached, and what is behind it."""
    yield "random values", lambda drawn: drawn
    yield "random values", lambda drawn: 16 * drawn
    yield "random values", lambda drawn: 1000 * drawn
    yield "negative values", lambda drawn: -3 * drawn.abs()
    yield "zeros", torch.zeros_like


def _drawn(held: Any, generator: torch.Generator, change: Any, small: bool) -> Any:  # noqa: ANN401
    if not isinstance(held, torch.Tensor) or not (held.is_floating_point() or held.is_complex()):
        return held
    shape = _corner(held.shape) if small else tuple(held.shape)
    drawn: torch.Tensor = change(torch.randn(shape, generator=generator, dtype=torch.float64))
    if held.is_complex():
        return torch.complex(drawn, change(torch.randn(shape, generator=generator, dtype=torch.float64)))
    return drawn


def _corner(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) == 2:
        return _ROWS, shape[1]
    return (_SAMPLES, shape[1], *(min(size, _PLACES) for size in shape[2:]))


def impulses(seen: Sequence[Any], *, small: bool, kernel: int) -> Iterator[list[Any]]:
    """Zeros alone, and zeros but for a single number in one of the tensors: all of a kernel's weights, one by one.

    Where a corner will do, many of them run at once, as samples of one batch; else as many as can be, one by one.

    Args:
        seen: as in `probes`.
        small: whether a corner will do.
        kernel: the longest side of a window in the part: strides are no longer.
    """
    yield [_with_impulses(held, (), 0.0, 1, small) for held in seen]
    for which, held in enumerate(seen):
        if not isinstance(held, torch.Tensor) or not held.is_floating_point() or held.dim() < 2:
            continue
        places = _places(_corner(held.shape) if small else tuple(held.shape), kernel)
        batches = [places[at : at + _MOST_AT_ONCE] for at in range(0, len(places), _MOST_AT_ONCE)]
        if not small:
            batches = [[place] for place in places[:_SAMPLES]]
        for sign in (1.0, -1.0):
            for batch in batches:
                yield [
                    _with_impulses(other, batch if at == which else (), sign, len(batch), small)
                    for at, other in enumerate(seen)
                ]


def _with_impulses(held: Any, places: Sequence[tuple[int, ...]], sign: float, length: int, small: bool) -> Any:  # noqa: ANN401
    if not isinstance(held, torch.Tensor) or not held.is_floating_point():
        return held
    shape = (length, *_corner(held.shape)[1:]) if small else tuple(held.shape)
    tensor = torch.zeros(shape, dtype=torch.float64)
    for sample, place in enumerate(places):
        where = (sample, *place)
        tensor[where] = sign * _HEIGHT
    return tensor


def _places(shape: Sequence[int], kernel: int) -> list[tuple[int, ...]]:
    """Around the middle of each channel, or of as many as there may be: windows that jump meet each place once."""
    steps = range(1 if kernel == 1 else 2 if kernel <= 3 else 4)
    around = [tuple(size // 2 for size in shape[2:])]
    around = [
        tuple(min(at + step, size - 1) for at, step, size in zip(place, moved, shape[2:], strict=True))
        for place in around
        for moved in product(steps, repeat=len(place))
    ]
    channels = range(0, shape[1], -(-shape[1] // _MOST_IMPULSES))
    return [(channel, *place) for channel in channels for place in dict.fromkeys(around)]


def bears_corner(nodes: Sequence[Node], seen: Sequence[Any]) -> bool:
    """Whether some nodes treat all samples and places alike, so that a corner shows all that they do.

    Args:
        nodes: of either part.
        seen: what the part begins with.
    """
    if not all(isinstance(held, torch.Tensor) and held.is_floating_point() for held in seen):
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
