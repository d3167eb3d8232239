"""A model's weights as another rounding might have left them."""

import numpy as np

from bnfold.judge.channels import Array, eps
from bnfold.judge.compare import FLOATS
from bnfold.judge.external import is_external
from bnfold.judge.model import Model

# Tensors over fewer axes may be bounds, or factors that an output's size is computed from.
_FEWEST_AXES = 2


def moved_weights(model: Model, seed: int) -> dict[str, Array]:
    """Initializers of which every number is moved up or down by its last bit.

    Args:
        model: the model.
        seed: of the directions.

    Returns:
        The floating-point initializers of the main graph over two axes and more, by name.

    Raises:
        VerificationError: external data is missing.
    """
    from onnx import numpy_helper

    rng = np.random.default_rng(seed)
    moved = {}
    for tensor in model.proto.graph.initializer:
        if len(tensor.dims) < _FEWEST_AXES or (is_external(tensor) and tensor.name not in model.external):
            continue
        values = model.external[tensor.name] if is_external(tensor) else numpy_helper.to_array(tensor)
        if values.dtype in FLOATS:
            directions = rng.integers(0, 2, values.shape, np.int8) * 2 - 1
            with np.errstate(over="ignore"):
                moved[tensor.name] = (values * (1 + directions * eps(values.dtype))).astype(values.dtype)
    return moved
