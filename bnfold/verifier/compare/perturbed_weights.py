"""A model's weights as another rounding might have left them."""

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
# How much more than the step, so that it is no growth by it.
_JUMP = 4


def step_of(rounding: int) -> int:
    """By how many units of the last place to move in the n-th rounding, from 0: 1, 1, 2, 2, 4, 4, ...

    Where attention is about to turn to another token, few roundings of one unit show it; larger ones do.
    """
    return int(2 ** (rounding // 2))


def noise_of_step(error: Array, step: int, noise: Array) -> Array:
    """What a movement by several units says of one by a single unit.

    Args:
        error: what moved, in any unit.
        step: by how many units of the last place.
        noise: what moves by one unit, as far as it is known.

    Returns:
        A part of the error where it grows with the step; all of it where it is a jump.
    """
    return np.where(error > _JUMP * step * noise, error, error / step)


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
    from onnx import numpy_helper

    rng = np.random.default_rng(seed)
    moved = {}
    per_channel = _per_channel(model)
    for tensor in model.proto.graph.initializer:
        beside = model.weights.get(tensor.name)
        if len(tensor.dims) < _FEWEST_AXES and tensor.name not in per_channel:
            continue
        if is_external(tensor) and beside is None:
            continue
        values = numpy_helper.to_array(tensor) if beside is None else beside
        if values.dtype in FLOATS:
            directions = rng.integers(0, 2, values.shape, np.int8) * np.int8(2) - np.int8(1)
            with np.errstate(over="ignore"):
                moved[tensor.name] = (values * (1 + step * directions * eps(values.dtype))).astype(values.dtype)
    return moved


def _per_channel(model: Model) -> set[str]:
    """Names of scales, shifts, means, variances and biases."""
    return {
        name
        for node in model.proto.graph.node
        if node.op_type in _WITH_PARAMETERS and is_standard(node)
        for name in node.input[_FIRST_PARAMETER:]
    }
