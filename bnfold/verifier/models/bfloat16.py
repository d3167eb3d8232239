"""A bfloat16 model where onnxruntime has no kernels for it: the same numbers in float32.

Kernels of bfloat16 round every result; these do not, so that two models are told apart the better.
"""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from bnfold.intake.tensors import is_external, stored_tensors
from bnfold.intake.walk import bodies, node_lists
from bnfold.verifier.models.dtypes import BFLOAT16, FLOAT
from bnfold.verifier.models.external_data import Array

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto


def emulate(model: "ModelProto") -> "ModelProto | None":
    """The model with float32 for every bfloat16, inputs and outputs as well; None where it has none."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = list(chain.from_iterable(node_lists(copy)))
    for graph in (copy.graph, *chain.from_iterable(map(bodies, nodes))):
        for entry in (*graph.input, *graph.output, *graph.value_info):
            if entry.type.tensor_type.elem_type == BFLOAT16:
                entry.type.tensor_type.elem_type = FLOAT
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.name in ("to", "dtype") and attribute.i == BFLOAT16:
            attribute.i = FLOAT
    for tensor in stored_tensors(copy):
        _widen(tensor)
    for function in copy.functions:
        del function.value_info[:]
    return None if copy == model else copy


def widened(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Values in float32 where they were in bfloat16."""
    narrow = np.dtype(ml_dtypes.bfloat16)
    return {name: values.astype(np.float32) if values.dtype == narrow else values for name, values in weights.items()}


def _widen(tensor: "TensorProto") -> None:
    from onnx import numpy_helper

    if tensor.data_type == BFLOAT16 and is_external(tensor):
        tensor.data_type = FLOAT
    elif tensor.data_type == BFLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
