"""Every stored tensor of a model, and whether its data is as long as its shape says.

A tensor of a few bytes may claim a shape of terabytes: memory is allocated only for data that is there.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from bnfold.errors import ModelFormatError
from bnfold.intake.walk import bodies

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

# Bits of an element, and the typed field of those that are not in raw_data. Source: onnx.proto, TensorProto.
_BITS = {
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    "COMPLEX128": 128,
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT2", "UINT2"), 2),
}
_FIELDS = {
    **dict.fromkeys(("FLOAT", "COMPLEX64"), "float_data"),
    **dict.fromkeys(("DOUBLE", "COMPLEX128"), "double_data"),
    "INT64": "int64_data",
    **dict.fromkeys(("UINT32", "UINT64"), "uint64_data"),
}
_BYTE = 8


def stored_tensors(model: "ModelProto") -> "Iterator[TensorProto]":
    """Initializers and tensor attributes, dense and sparse, those of bodies, functions and training too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def check_tensors(tensors: "Iterable[TensorProto]") -> None:
    """Refuse tensors whose data is not as long as their type and shape ask for.

    Raises:
        ModelFormatError: one does not, or has a negative length.
    """
    for tensor in tensors:
        problem = _problem(tensor)
        if problem:
            raise ModelFormatError(f"tensor {tensor.name!r} {problem}")


def size_in_bytes(tensor: "TensorProto") -> int | None:
    """Bytes of a tensor's data, by its type and shape; None where these do not say it (text, unknown types)."""
    known = _name_of(tensor.data_type) in _BITS
    return bytes_of(tensor.data_type, prod(tensor.dims)) if known else None


def bytes_of(element: int, count: int) -> int:
    """Bytes of so many elements of a TensorProto.DataType, packed; those without a fixed size count as four bytes."""
    return -(-count * _BITS.get(_name_of(element), 32) // _BYTE)


def is_external(tensor: "TensorProto") -> bool:
    """Whether the data of a tensor lies in another file."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def _of_graph(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from _of_sparse(sparse)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: "NodeProto") -> "Iterator[TensorProto]":
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from _of_sparse(attribute.sparse_tensor)
        for sparse in attribute.sparse_tensors:
            yield from _of_sparse(sparse)
    for body in bodies(node):
        yield from _of_graph(body)


def _of_sparse(sparse: "SparseTensorProto") -> "Iterator[TensorProto]":
    yield sparse.values
    yield sparse.indices


@lru_cache(maxsize=64)
def _name_of(element: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(element)) if element in TensorProto.DataType.values() else str(element)


def _problem(tensor: "TensorProto") -> str:
    element = _name_of(tensor.data_type)
    said = f"is {element.lower()} {list(tensor.dims)}"
    if any(length < 0 for length in tensor.dims):
        return f"{said}, with a negative length"
    if element == "STRING":
        needed, held, unit = prod(tensor.dims), len(tensor.string_data), "strings"
    elif element not in _BITS or is_external(tensor):
        return ""  # who reads it says what is wrong with it
    elif tensor.HasField("raw_data"):
        needed, held, unit = size_in_bytes(tensor) or 0, len(tensor.raw_data), "bytes"
    else:
        needed, held, unit = *_typed(tensor, element), "numbers"
    return "" if needed == held else f"{said}, which takes {needed} {unit}, and holds {held}: the file is damaged"


def _typed(tensor: "TensorProto", element: str) -> tuple[int, int]:
    """How many entries a typed field needs, and has. Elements of less than a byte share the entry of their byte."""
    held = len(getattr(tensor, _FIELDS.get(element, "int32_data")))
    count = prod(tensor.dims)
    if element.startswith("COMPLEX"):
        return 2 * count, held
    return -(-count // max(1, _BYTE // _BITS[element])), held
