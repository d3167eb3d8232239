"""The four parameters of a BatchNorm in inference: to an affine map, and from one."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, PerChannel
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.precision import round_parameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Refusal
from bnfold.regrouping import Dim
from bnfold.rules.affine_map import read_batch_norm_as_affine
from bnfold.semantics import AffineMap, Form, Statistics

_CHANNEL_AXIS = 1


def require_vectors(gamma: Array, beta: Array, mean: Array, variance: Array) -> None:
    """Refuse four parameters that are not vectors of one length (MALFORMED)."""
    shapes = {gamma.shape, beta.shape, mean.shape, variance.shape}
    if len(shapes) != 1 or gamma.ndim != 1:
        raise malformed(f"the four parameters have shapes {gamma.shape}, {beta.shape}, {mean.shape}, {variance.shape}")


def require_channels(shape: tuple[Dim, ...]) -> None:
    """Refuse an input without an axis of channels (MALFORMED)."""
    if len(shape) < 2:
        raise malformed(f"the input has rank {len(shape)}, expected 2 at least")


def read_batch_norm(
    gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float, shape: tuple[Dim, ...]
) -> AffineMap:
    """The map of a BatchNorm whose parameters are vectors of one length, for an input of this shape with channels."""
    channels = shape[_CHANNEL_AXIS]
    if isinstance(channels, int) and channels != gamma.size:
        raise malformed(f"the input has {channels} channels, the parameters {gamma.size}")
    affine = read_batch_norm_as_affine(gamma, beta, mean, variance, epsilon, rank=len(shape))
    if isinstance(affine, Refusal):
        raise Undecodable(affine.reason, affine.evidence)
    statistics = Statistics(mean, variance, epsilon)
    return AffineMap(affine, Form.SCALE_AND_SHIFT, channel_axis=_CHANNEL_AXIS, statistics=statistics)


def read_batch_norm_of_one_channel(
    gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> AffineMap:
    """The map of a BatchNorm whose input is one vector, which is one channel for all of it.

    Source: ONNX BatchNormalization-9 ("single dimension input of size N in which case C is assumed to be 1")
    """
    if gamma.size != 1:
        raise malformed(f"the input has rank 1, expected 2 at least for {gamma.size} channels")
    rows = read_batch_norm(gamma, beta, mean, variance, epsilon, (None, 1))
    return replace(rows, affine=Affine(rows.affine.scale[0], rows.affine.shift[0]))


def moved_statistic(known: Array | None, stored: Array, dtype: np.dtype[np.generic]) -> NewParameter | None:
    """A mean or variance that the norm is to store, where its input holds other values than it did.

    Args:
        known: of what the input holds now.
        stored: of what it held.
        dtype: of the parameter.

    Returns:
        The parameter, exactly as it is stored, because scale and bias are made for that; None where it stays: where
        nothing has moved, and where the type has no room, since scale and bias can say the map with any statistics.
    """
    if known is None or np.array_equal(known, stored):
        return None
    rounded = round_parameter(np.broadcast_to(known, stored.shape), dtype)
    return None if isinstance(rounded, Refusal) else NewParameter(rounded.astype(np.float64), rounded)


def scale_and_bias(vectors: PerChannel, mean: Array, variance: Array, epsilon: float) -> tuple[Array, Array]:
    """What gives a BatchNorm this map with this mean and variance.

    Law: gamma = scale * sqrt(variance + epsilon), beta = shift + scale * mean
    """
    gamma = vectors.scale * np.sqrt(variance + epsilon)
    return gamma, np.broadcast_to(vectors.shift + vectors.scale * mean, mean.shape)
