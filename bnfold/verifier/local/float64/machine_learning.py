"""Operators of ai.onnx.ml that hold numbers in attributes: those are stored numbers like others, rounded to float32.

Source: ONNX's list of operators of ai.onnx.ml, Scaler-1, LinearRegressor-1, LinearClassifier-1.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bnfold.verifier.local.float64.operator import Array, Call, Compute, NotComputedError, computes

if TYPE_CHECKING:
    from onnx import NodeProto

_DOMAIN = "ai.onnx.ml"

_TABLE: dict[str, Compute] = {}
_computes = partial(computes, table=_TABLE)
_NUMBERS = {
    "Scaler": ("scale", "offset"),
    "LinearRegressor": ("coefficients", "intercepts"),
    "LinearClassifier": ("coefficients", "intercepts"),
}


def held_in_attributes(node: "NodeProto") -> dict[str, Array]:
    """The stored numbers of a node that are no tensors, by the attributes' names."""
    names = _NUMBERS.get(node.op_type, ()) if node.domain == _DOMAIN else ()
    return {entry.name: np.asarray(entry.floats, np.float32) for entry in node.attribute if entry.name in names}


def key_of(node: "NodeProto", attribute: str) -> str:
    """The name under which a subgraph has numbers of an attribute: the node is told by what it makes."""
    return f"{node.output[0]}.{attribute}"


def computed(
    node: "NodeProto", call: Call, inputs: Sequence[Array | None], stored: Mapping[str, Array]
) -> Sequence[Array]:
    """The outputs of a node that holds numbers in attributes.

    Args:
        node: the node.
        call: of it.
        inputs: what it reads.
        stored: the numbers, as they are stored or moved, by `key_of`.

    Raises:
        NotComputedError: a form of the operator has no computation here.
    """
    held = {name: stored[key_of(node, name)] for name in held_in_attributes(node)}
    try:
        made = _TABLE[node.op_type](call, *inputs, held=held)
    except (ValueError, IndexError, TypeError, AttributeError, KeyError) as error:
        raise NotComputedError(f"{node.op_type}: {error}") from error
    return [made] if isinstance(made, np.ndarray) else list(made)


@_computes("Scaler")
def _scaler(_call: Call, x: Array, held: Mapping[str, Array]) -> Array:
    return np.asarray((x - held["offset"]) * held["scale"])


@_computes("LinearRegressor")
def _linear_regressor(call: Call, x: Array, held: Mapping[str, Array]) -> Array:
    if call.text("post_transform", "NONE") != "NONE":
        raise NotComputedError("LinearRegressor with a transform of its sums")
    return _sums(x, held, call.get("targets", 1))


@_computes("LinearClassifier")
def _linear_classifier(call: Call, x: Array, held: Mapping[str, Array]) -> list[Array]:
    """Of three classes and more: the place of the largest sum stands for the label."""
    rows = held["intercepts"].size if "intercepts" in held else 0
    if rows < 3 or call.text("post_transform", "NONE") != "NONE":
        raise NotComputedError("LinearClassifier of two classes, or with a transform of its sums")
    made = _sums(x, held, rows)
    return [np.argmax(made, axis=-1), made]


def _sums(x: Array, held: Mapping[str, Array], rows: int) -> Array:
    made = x @ held["coefficients"].reshape(rows, -1).T
    return np.asarray(made + held["intercepts"] if "intercepts" in held else made)
