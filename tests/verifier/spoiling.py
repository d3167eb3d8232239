"""A model with one stored tensor changed."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def spoiled(
    model: onnx.ModelProto,
    find: Callable[[onnx.ModelProto], TensorProto],
    change: Callable[[np.ndarray], None],
) -> onnx.ModelProto:
    """A copy in which a function has changed the values of one tensor in place."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = find(copy)
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


def of_shape(shape: Iterable[int]) -> Callable[[onnx.ModelProto], TensorProto]:
    """The first initializer of a shape."""
    return lambda model: next(tensor for tensor in model.graph.initializer if list(tensor.dims) == list(shape))
