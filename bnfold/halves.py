"""Ways to part the map of a BatchNorm between what it reads and what it makes."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from bnfold.affine import Affine, identity

Halves: TypeAlias = tuple[Affine, Affine]
"""Maps on what a BatchNorm reads and on what it makes."""


def halves(affine: Affine) -> Iterator[Halves]:
    """Ways to part y = s x + t between its two tensors: x = m(z) and y = n(z) with n = (s, t) after m.

    The first puts the zero of the map on x and leaves its scale to y; the second the signs as well. The third and the
    fourth are the inverse on x alone, and its scale alone; the last leaves all to y. A channel of scale 0 is a constant
    for the readers of y, and x is left alone there.
    """
    live = affine.scale != 0
    divisor = np.where(live, affine.scale, 1.0)
    one, none = np.ones((1,) * affine.rank), np.zeros((1,) * affine.rank)
    zero = np.where(live, -affine.shift / divisor, 0.0)
    constant = np.where(live, 0.0, affine.shift)
    sign = np.where(live, np.sign(affine.scale), 1.0)
    yield Affine(one, zero), Affine(affine.scale, constant)
    if np.any(sign < 0):
        yield Affine(sign, zero), Affine(np.abs(affine.scale), constant)
    yield Affine(1.0 / divisor, zero), Affine(np.where(live, 1.0, 0.0), constant)
    yield Affine(1.0 / divisor, none), Affine(np.where(live, 1.0, 0.0), affine.shift)
    yield Affine(one, none), affine


def halves_of_scale(affine: Affine) -> Iterator[Halves]:
    """Ways to part the scale of y = s x + t between its two tensors, so that y' = x' + u.

    The first leaves it to y; the second puts its signs on x; the last puts all of it on x. A channel of scale 0 is a
    constant for the readers of y in each of them.
    """
    live = affine.scale != 0
    one, none = np.ones((1,) * affine.rank), np.zeros((1,) * affine.rank)
    constant = none if np.all(live) else np.where(live, 0.0, affine.shift)
    sign = np.where(live, np.sign(affine.scale), 1.0)
    yield Affine(one, none), Affine(affine.scale, constant)
    if np.any(sign < 0):
        yield Affine(sign, none), Affine(np.abs(affine.scale), constant)
    yield Affine(1.0 / np.where(live, affine.scale, 1.0), none), Affine(np.where(live, 1.0, 0.0), constant)


def halves_of_shift(affine: Affine) -> Iterator[Halves]:
    """The one way to part the shift of y = s x + t between its two tensors, so that y' = s x'.

    The zero of the map goes to x; what a channel of scale 0 makes is left to y.
    """
    live = affine.scale != 0
    one = np.ones((1,) * affine.rank)
    zero = np.where(live, -affine.shift / np.where(live, affine.scale, 1.0), 0.0)
    yield Affine(one, zero), Affine(one, np.where(live, 0.0, affine.shift))


def all_behind(affine: Affine) -> Halves:
    """The whole map on what it makes."""
    return identity(affine.rank), affine


def sign_behind(affine: Affine) -> Halves:
    """What is left of the scale on what it makes, and nothing of the shift."""
    return identity(affine.rank), affine.scale_alone()
