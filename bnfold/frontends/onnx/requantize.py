"""Parameters stored as integers behind a DequantizeLinear: a positive scale goes into its scales, exactly."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constants import Constants
from bnfold.frontends.onnx.graph import Node, Value
from bnfold.frontends.parameters import NewParameter, new_parameter
from bnfold.refusal import Reason, Refusal

# What float64 may lose between the old values times a factor and the new ones.
_EXACT = 1e-12


def dequantizer(value: Value | None) -> Node | None:
    """The DequantizeLinear that makes a tensor, if one does."""
    node = value.producer if value is not None else None
    return node if node is not None and node.is_standard and node.proto.op_type == "DequantizeLinear" else None


def scaled_quantization(
    node: Node, old: npt.NDArray[np.generic], new: Array, constants: Constants
) -> NewParameter | Refusal | None:
    """The scales with which a DequantizeLinear makes `new` where it made `old`.

    Args:
        node: the DequantizeLinear.
        old: what it makes now.
        new: what it is to make, of the same shape.
        constants: of the model.

    Returns:
        The scales, None where nothing changes, or QUANTIZED where no positive scale for each of the node's own scales
        gives exactly these values.
    """
    output, scale = node.outputs[0], node.inputs[1]
    stored = constants.read_exact(scale) if scale is not None else None
    if output is None or scale is None or stored is None:
        return Refusal(Reason.MALFORMED, f"{node.label!r} ({node.op}) has no scale")
    if isinstance(stored, Refusal):
        return stored
    if old.shape != new.shape:
        return Refusal(Reason.QUANTIZED, f"{node.label!r} makes shape {old.shape}, folded it would be {new.shape}")
    if output.is_output:
        return Refusal(Reason.GRAPH_OUTPUT, f"{output.name!r} is a parameter, and an output of {output.scope.label}")
    if len(output.value_readers) > 1:
        names = ", ".join(f"{reader.label!r} ({reader.op})" for reader, _ in output.value_readers[:3])
        return Refusal(Reason.OTHER_CONSUMERS, f"{output.name!r}, a parameter, is read by {names}")
    axis = attribute(node, "axis", 1) % max(old.ndim, 1)
    rows = (lambda values: np.moveaxis(values, axis, 0).reshape(stored.size, -1)) if stored.size > 1 else np.ravel
    factors = _factors(np.atleast_2d(rows(old.astype(np.float64))), np.atleast_2d(rows(new)))
    if factors is None:
        has = "one scale for all" if stored.size == 1 else f"scales along axis {axis}"
        return Refusal(Reason.QUANTIZED, f"{node.label!r} has {has}, which cannot express the map")
    if np.all(factors == 1.0):
        return None
    if (factors <= 0).any():
        worst = int(np.argmin(factors))
        return Refusal(
            Reason.QUANTIZED,
            f"scale {worst} of {node.label!r} would be multiplied by {factors[worst]:.3g}, not positive",
        )
    exact = stored * factors.reshape(stored.shape)
    return new_parameter(exact, constants.require(scale).dtype)


def same_factors(changes: Mapping[Node, NewParameter], constants: Constants) -> bool:
    """Whether all these scales change alike, as those of a weight and its integer bias must: runtimes multiply the
    scales of input and weight to get that of the bias.
    """
    factors = []
    for node, scales in changes.items():
        before = constants.read_exact(node.inputs[1]) if node.inputs[1] is not None else None
        if before is None or isinstance(before, Refusal):
            return False
        factors.append(np.ravel(scales.exact / before))
    return all(np.allclose(factors[0], other, rtol=_EXACT, atol=0.0) for other in factors[1:])


def _factors(old: Array, new: Array) -> Array | None:
    """One factor for each row with new == factor * old, or None."""
    places = np.abs(old).argmax(axis=1)[:, None]
    largest, scaled = np.take_along_axis(old, places, axis=1), np.take_along_axis(new, places, axis=1)
    factors = np.where(largest == 0, 1.0, scaled / np.where(largest == 0, 1.0, largest))
    exact = np.abs(new - factors * old) <= _EXACT * np.abs(new).max(axis=1, keepdims=True, initial=0.0)
    return factors[:, 0] if exact.all() else None
