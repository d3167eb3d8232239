"""Products, quotients and sums of an activation and a constant, read as affine maps."""

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Form


def require_finite(constant: Array) -> None:
    """Refuse a constant that holds NaN or infinity (NOT_FINITE)."""
    if not np.isfinite(constant).all():
        raise Undecodable(Reason.NOT_FINITE, "the constant holds NaN or infinity")


def scaled(constant: Array, source: int) -> AffineMap:
    """The map y = constant * x.

    Args:
        constant: of the rank of x.
        source: index of the input that holds x.
    """
    return AffineMap(Affine(constant, np.zeros_like(constant)), Form.SCALE, source)


def divided(constant: Array, source: int) -> AffineMap:
    """The map y = x / constant, with the arguments of `scaled` (NOT_FINITE where the constant holds a 0)."""
    with np.errstate(divide="ignore", over="ignore"):
        scale = 1.0 / constant
    if not np.isfinite(scale).all():
        raise Undecodable(Reason.NOT_FINITE, "the divisor holds a zero")
    return scaled(scale, source)


def shifted(constant: Array, source: int, *, scale: float) -> AffineMap:
    """The map y = scale * x + constant, with the arguments of `scaled`."""
    return AffineMap(Affine(np.full((1,) * constant.ndim, scale), constant), Form.SHIFT, source)
