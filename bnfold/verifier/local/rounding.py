"""Whether half-precision parameters were rounded once.

They are not exact enough for the limits of float32. What is judged is their rounding: both parts compute in float32, so
that nothing but the stored numbers differs, and the new part is compared with itself with every changed parameter moved
up or down by half a unit of its last place: the most that rounding once does.

- A place may be off by three times as much as there, or five times what is usual of all channels there, by their own
  scales; a slope by five times what is usual of all channels.
- All slopes together are to be like those of roundings that fall anywhere within that half unit, which are smaller by
  the root of 3: a scale that was itself rounded moves a whole channel, which single roundings of its weights do not.
"""

import math

import numpy as np

from bnfold.verifier.compare.channels import Array, largest, ratios, scales, slopes
from bnfold.verifier.local.laws import Seen

_PLACE, _TIMES, _TIMES_USUAL, _ERRORS = 16.0, 5.0, 5.0, 6.0
_ROUNDED_TWICE = 1.6 / math.sqrt(3)
# Fewer channels are no sample of roundings.
_FEWEST_CHANNELS = 16


class RoundedPlaces:
    """The largest difference of a channel.

    Args:
        times: how much larger it may be than the largest of the other roundings. Where all places of a channel are one
            value, three random roundings are but three numbers, and say little of a fourth.
    """

    def __init__(self, times: float) -> None:
        self._times = times

    def excess(self, seen: Seen) -> Array:
        """In units of what other roundings make."""
        scale = scales(seen.a)
        moves = np.stack([largest(other - seen.b) for other in seen.moved])
        relative = ratios(moves, np.broadcast_to(scale, moves.shape))[(moves > 0) & (scale > 0)]
        usual = float(np.median(relative)) if relative.size else 0.0
        allowed = np.maximum(self._times * moves.max(axis=0), _TIMES_USUAL * usual * scale)
        return ratios(largest(seen.b - seen.a), allowed + _PLACE * seen.u * scale + seen.smallest)

    def describe(self, _seen: Seen, _channel: int) -> str:
        """It differs."""
        return "differs"


class RoundedSlopes:
    """The systematic difference of a channel."""

    def excess(self, seen: Seen) -> Array:
        """In units of five times what is usual."""
        fit, own = slopes(seen.a, seen.b), slopes(seen.b, seen.moved[0])
        usual = max(_root_mean_square(own.value), seen.u)
        return np.asarray(np.abs(fit.value) / (_TIMES * usual + 2 * np.abs(own.value) + _ERRORS * fit.uncertainty))

    def describe(self, seen: Seen, channel: int) -> str:
        """The factor."""
        return f"is {1 + slopes(seen.a, seen.b).value[channel]:.5g} times what it was"


class SlopesTogether:
    """The systematic differences of all channels, as one figure."""

    def excess(self, seen: Seen) -> Array:
        """In units of what single roundings give, the same in every channel."""
        alive = largest(seen.moved[0] - seen.b) > 0
        count = np.count_nonzero(alive)
        usual = _root_mean_square(slopes(seen.b, seen.moved[0]).value[alive]) if count else 0.0
        together = 0.0
        if count >= _FEWEST_CHANNELS and usual > 0:
            ours = _root_mean_square(slopes(seen.a, seen.b).value[alive])
            together = ours / ((usual + 8 * seen.u) * (_ROUNDED_TWICE + 1.5 / math.sqrt(count)))
        return np.full(seen.a.shape[0], together)

    def describe(self, _seen: Seen, _channel: int) -> str:
        """It was rounded more than once."""
        return "is rounded more than once, and so are others"


def _root_mean_square(values: Array) -> float:
    return math.sqrt(float(np.mean(np.square(values)))) if values.size else 0.0
