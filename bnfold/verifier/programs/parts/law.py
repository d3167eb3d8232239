"""What a changed part may differ by: what it moves when its own stored numbers are rounded another way.

Both parts run in float64, on equal inputs. There, the only thing that may part them is that each stored number which
the new one has and the original has not was rounded once, to its own type: by half a unit of its last place at most.
So the new part is run again with each of these numbers moved by half a unit, up or down at random, a few times over.
Since no number can be off by more, what all of them do together is, in the root mean square over many places with
independent values, no more than what these moves do. In single places it may be more by chance, not by several times.

Numbers in narrow types are judged one by one as well: where an impulse brings a single one to an output, the output
may be off by the half unit of that one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

Tensor: TypeAlias = torch.Tensor
Run: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Any]
"""A part on what it is given and what it has stored."""

_DRAWS = 8
_DRAWS_OF_IMPULSES = 24
# Of the largest movement in a channel; and of the root mean square.
_PEAK = 4.0
_SPREAD = 2.0
_FEWEST_PLACES = 24
_SINGLE = 1.02
# What float64 itself may do, in units of its arguments: the sum of a few thousand products.
_WIDE = 2.0**-44
_MANTISSA = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24, torch.float64: 53}
_SMALLEST = {torch.float16: -24, torch.bfloat16: -133, torch.float32: -149, torch.float64: -1074}


@dataclass(frozen=True)
class Finding:
    """How far two parts are from each other, on one probe.

    Attributes:
        excess: in units of what is allowed; up to 1 is rounding.
        error: the largest |a - b| of the worst channel.
        scale: the largest |a| of that channel.
        channel: which; None where there are none.
        values: there, of the original and of the new part.
    """

    excess: float
    error: float = 0.0
    scale: float = 0.0
    channel: int | None = None
    values: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Comparison:
    """Two parts, ready to run on one probe.

    Attributes:
        original: the part of the original program.
        new: that of the new one.
        stored: what either has stored.
        changed: which of the stored tensors of the new one the original part has not.
    """

    original: Run
    new: Run
    stored: tuple[Sequence[Any], Sequence[Any]]
    changed: Sequence[bool]

    def on(self, given: Sequence[Any], *, quick: bool, centred: bool = False, impulses: bool = False) -> Finding:
        """Compare on one probe.

        Args:
            given: what both begin with.
            quick: say no without looking further where the two are nowhere near.
            centred: the values that they begin with are random and centred on 0, so that places are independent.
            impulses: single numbers may be seen.

        Raises:
            Exception: whatever torch raises where a part does not run.
        """
        own, theirs = self.stored
        expected = self.original(given, [wide(held) for held in own])
        stored = [wide(held) for held in theirs]
        got = self.new(given, stored)
        unlike = _unlike(expected, got)
        if unlike is not None:
            return unlike
        if expected.numel() == 0:
            return Finding(0.0)
        a, b = _flat(expected), _flat(got)
        error = (a - b).abs().nan_to_num(0.0, posinf=math.inf)
        a, b = (values.nan_to_num(0.0, 0.0, 0.0) for values in (a, b))
        if quick and float(error.max()) > 0.05 * float(a.abs().max()):
            return _found(math.inf, error, a, b, int(error.amax(1).argmax()))
        moves = [_moves(self, given, stored, b, draw) for draw in range(_DRAWS_OF_IMPULSES if impulses else _DRAWS)]
        noise = torch.stack([_noise(self, given, stored, b, draw) for draw in range(2)]).amax(0)
        return _judged(a, b, error, torch.stack(moves), noise, single=impulses, centred=centred)


def _judged(
    a: Tensor, b: Tensor, error: Tensor, moves: Tensor, noise: Tensor, *, single: bool, centred: bool
) -> Finding:
    """The worst channel."""
    floor = _PEAK * noise.amax(1) + _WIDE * a.abs().amax(1)
    excess = _ratio(error.amax(1), _PEAK * moves.amax((0, 2)) + floor)
    if centred:
        squares = moves.square().mean(0)
        places = squares.sum(1).square() / squares.square().sum(1)  # that take part: not NaN where all are dead
        spread = _SPREAD * squares.mean(1).sqrt() + floor
        ratios = _ratio(error.square().mean(1).sqrt(), spread)
        excess = torch.maximum(excess, torch.where(places >= _FEWEST_PLACES, ratios, 0.0))
    if single:
        most, least = moves.amax(0), moves.amin(0)
        alone = (most - least) <= 0.01 * most
        ratios = _ratio(error, _SINGLE * most + floor[:, None])
        excess = torch.maximum(excess, torch.where(alone, ratios, 0.0).amax(1))
    worst = int(excess.argmax())
    return _found(float(excess[worst]), error, a, b, worst)


def _found(excess: float, error: Tensor, a: Tensor, b: Tensor, channel: int) -> Finding:
    place = int(error[channel].argmax())
    return Finding(
        excess,
        float(error[channel, place]),
        float(a[channel].abs().max()),
        channel if a.shape[0] > 1 else None,
        (float(a[channel, place]), float(b[channel, place])),
    )


def _unlike(expected: object, got: object) -> Finding | None:
    """What is wrong before any arithmetic; a part that gives no tensor gives equal values or not."""
    if not isinstance(expected, Tensor) or not isinstance(got, Tensor):
        return Finding(0.0 if _plainly_equal(expected, got) else math.inf)
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return Finding(math.inf)
    a, b = _flat(expected), _flat(got)
    return None if torch.equal(torch.isnan(a), torch.isnan(b)) else Finding(math.inf)


def _plainly_equal(a: object, b: object) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_plainly_equal, a, b))
    return type(a) is type(b) and a == b


def _moves(comparison: Comparison, given: Sequence[Any], stored: Sequence[Any], b: Tensor, draw: int) -> Tensor:
    """How far the new part moves with its own numbers by half a unit."""
    generator = torch.Generator().manual_seed(draw)
    own = comparison.stored[1]
    moved = [
        held + half_unit(narrow) * _signs(held.shape, generator) if changed and narrow.is_floating_point() else held
        for held, narrow, changed in zip(stored, own, comparison.changed, strict=True)
    ]
    return _difference(comparison.new(given, moved), b)


def _noise(comparison: Comparison, given: Sequence[Any], stored: Sequence[Any], b: Tensor, draw: int) -> Tensor:
    """How far the new part moves with everything by a few of the last bits of float64."""
    generator = torch.Generator().manual_seed(draw)

    def nudged(held: Any) -> Any:  # noqa: ANN401 - a tensor, a number or a list
        if not isinstance(held, Tensor) or not held.is_floating_point():
            return held
        return held * (1 + _WIDE * _signs(held.shape, generator))

    return _difference(comparison.new([*map(nudged, given)], [*map(nudged, stored)]), b)


def _difference(moved: Tensor, b: Tensor) -> Tensor:
    flat = _flat(moved)
    return (flat - b).abs().nan_to_num(0.0) if flat.shape == b.shape else torch.full_like(b, math.inf)


def wide(held: Any) -> Any:  # noqa: ANN401 - a tensor, a number or a list
    """A tensor of floating-point numbers in float64, with memory of its own."""
    if not isinstance(held, Tensor):
        return held
    own = held.detach().clone()
    if own.is_complex():
        return own.to(torch.complex128)
    return own.double() if own.is_floating_point() else own


def half_unit(held: Tensor) -> Tensor:
    """Half a unit of the last place of every number, in float64."""
    _, exponent = torch.frexp(held.detach().double())
    smallest = _SMALLEST[held.dtype]
    power = torch.where(held == 0, smallest, exponent - _MANTISSA[held.dtype]).clamp(min=smallest)
    return torch.ldexp(torch.full_like(power, 0.5, dtype=torch.float64), power)


def _signs(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, tuple(shape), generator=generator).double() * 2 - 1


def _flat(tensor: Tensor) -> Tensor:
    """Channels by places, in float64; a tensor of less than two axes is one channel."""
    values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    values = values.detach().double()
    return values.movedim(1, 0).reshape(values.shape[1], -1) if values.dim() > 1 else values.reshape(1, -1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(part > 0, part / whole, 0.0).nan_to_num(0.0, posinf=math.inf)


RANDOM = "random values"


def magnitudes() -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Of what a part begins with: both sides of every threshold are reached, and what is behind it."""
    yield RANDOM, lambda drawn: drawn
    yield RANDOM, lambda drawn: 16 * drawn
    yield RANDOM, lambda drawn: 1000 * drawn
    yield "negative values", lambda drawn: -3 * drawn.abs()
    yield "zeros", torch.zeros_like
