"""The precision that a model computes in, read from its file."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from bnfold.intake.tensors import stored_tensors
from bnfold.intake.walk import node_lists
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import ModelProto

# By TensorProto.DataType, the coarsest first.
_FLOATS: dict[int, "np.dtype[Any]"] = {
    16: np.dtype(ml_dtypes.bfloat16),
    10: np.dtype(np.float16),
    1: np.dtype(np.float32),
    11: np.dtype(np.float64),
}
COARSEST_FIRST = tuple(_FLOATS.values())


def coarsest_float(model: Model) -> "np.dtype[Any]":
    """The coarsest floating point dtype among the weights, constants and casts; float32 if there is none.

    A float16 network often has float32 inputs and outputs: its ports do not tell.
    """
    found = {tensor.data_type for tensor in stored_tensors(model.proto)} | set(_casts(model.proto))
    return next((dtype for element, dtype in _FLOATS.items() if element in found), np.dtype(np.float32))


def _casts(model: "ModelProto") -> Iterator[int]:
    for node in chain.from_iterable(node_lists(model)):
        if node.op_type == "Cast":
            yield from (attribute.i for attribute in node.attribute if attribute.name == "to")
