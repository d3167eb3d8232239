"""Numbers as another rounding might have left them: what a model is fed, and what it has stored."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bnfold.intake.tensors import is_external
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array, eps
from bnfold.verifier.models.graph import is_standard
from bnfold.verifier.models.load import Model

# Tensors over fewer axes may be bounds, or factors that a size is computed from, but for those that are known.
_FEWEST_AXES = 2
_FIRST_PARAMETER = 1
_WITH_PARAMETERS = frozenset(("BatchNormalization", "Conv", "ConvTranspose", "Gemm"))


def moved_by_last_bit(feeds: Mapping[str, Any], direction: int, precision: "np.dtype[Any]") -> dict[str, Any]:
    """Inputs of which every floating point value is moved by the last bit of a type, or of its own if that is coarser.

    An array of zeros, which have no last bit to move, moves as if they were ones.

    Args:
        feeds: the inputs.
        direction: 1 moves each value up or down at random, -1 the other way.
        precision: the type.
    """
    rng = np.random.default_rng(0)

    def moved(value: Any) -> Any:  # noqa: ANN401 - an array or a list of them
        if isinstance(value, list):
            return [moved(element) for element in value]
        if value.dtype not in FLOATS:
            return value
        share = direction * max(eps(precision), eps(value.dtype))
        return _moved(value, share, rng) if value.any() else _moved(value + value.dtype.type(1), share, rng) - 1

    return {name: moved(value) for name, value in feeds.items()}


def moved_weights(model: Model, seed: int, step: int) -> dict[str, Array]:
    """Initializers of which every number is moved up or down.

    Args:
        model: the model.
        seed: of the directions.
        step: in units of the last place of 1.

    Returns:
        The floating-point initializers of the main graph over two axes and more, and of operators with parameters per
        channel, by name.
    """
    rng = np.random.default_rng(seed)
    stored = ((name, values) for name, values in _weights(model) if values.dtype in FLOATS)
    return {name: _moved(values, step * eps(values.dtype), rng) for name, values in stored}


def _weights(model: Model) -> Iterator[tuple[str, Array]]:
    from onnx import numpy_helper

    per_channel = {
        name
        for node in model.proto.graph.node
        if node.op_type in _WITH_PARAMETERS and is_standard(node)
        for name in node.input[_FIRST_PARAMETER:]
    }
    for tensor in model.proto.graph.initializer:
        if len(tensor.dims) >= _FEWEST_AXES or tensor.name in per_channel:
            if tensor.name in model.weights:
                yield tensor.name, model.weights[tensor.name]
            elif not is_external(tensor):
                yield tensor.name, numpy_helper.to_array(tensor)


def _moved(values: Array, share: float, rng: np.random.Generator) -> Array:
    """Every number up or down by a share of itself."""
    directions = rng.integers(0, 2, values.shape, np.int8) * np.int8(2) - np.int8(1)
    with np.errstate(over="ignore"):  # the largest float16 moves to infinity
        moved: Array = (values * (1 + directions * share)).astype(values.dtype)
    return moved
