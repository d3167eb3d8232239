"""A serialised model without its large weights, which stay where they are: nothing is copied, and little is parsed.

All fields are kept as they are but the data of large initializers: in its place their tensors are marked with where in
the message it lies.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, TypeAlias

from bnfold.intake.protobuf_fields import Buffer, Field, fields, message, number_of

if TYPE_CHECKING:
    from onnx import TensorProto

Mark: TypeAlias = "Callable[[TensorProto, int, int], None]"
"""Notes in a tensor where its data begins, and how many bytes it takes."""

LARGEST_INSIDE = 2**16
"""Bytes. onnxruntime maps each weight of its own, and a process may have some 65,000 maps."""


def without_weights(data: Buffer, mark: Mark) -> bytes:
    """The same model, whose large initializers are marked instead of holding their data.

    Args:
        data: a serialised ModelProto.
        mark: notes in a tensor where its data lies in `data`.

    Raises:
        ValueError, DecodeError: it is none.
    """
    from onnx import ModelProto

    graph = number_of(ModelProto.DESCRIPTOR, "graph")
    return b"".join(
        _graph(data, field, mark) if field.is_message(graph) else field.copy(data)
        for field in fields(data, 0, len(data))
    )


def _graph(data: Buffer, field: Field, mark: Mark) -> bytes:
    from onnx import GraphProto, ModelProto

    initializer = number_of(GraphProto.DESCRIPTOR, "initializer")
    content = (
        _tensor(data, inner, mark) if inner.is_message(initializer) else inner.copy(data)
        for inner in fields(data, field.begin, field.stop)
    )
    return message(number_of(ModelProto.DESCRIPTOR, "graph"), b"".join(content))


def _tensor(data: Buffer, field: Field, mark: Mark) -> bytes:
    """An initializer, without its data if that is large."""
    from onnx import GraphProto, TensorProto

    if field.size <= LARGEST_INSIDE:
        return field.copy(data)
    raw_data = number_of(TensorProto.DESCRIPTOR, "raw_data")
    inside = list(fields(data, field.begin, field.stop))
    raw = [entry for entry in inside if entry.is_message(raw_data)]
    if len(raw) != 1 or raw[0].size <= LARGEST_INSIDE:
        return field.copy(data)
    tensor = TensorProto.FromString(b"".join(entry.copy(data) for entry in inside if entry is not raw[0]))
    if not _fills(tensor, raw[0].size):
        return field.copy(data)
    mark(tensor, raw[0].begin, raw[0].size)
    return message(number_of(GraphProto.DESCRIPTOR, "initializer"), tensor.SerializeToString())


def _fills(tensor: "TensorProto", size: int) -> bool:
    """Whether data of some bytes is all that a tensor needs, and may lie elsewhere."""
    from onnx import TensorProto

    widths: dict[int, int] = {TensorProto.FLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8}
    width = widths.get(tensor.data_type)
    return width is not None and prod(tensor.dims) * width == size and not tensor.external_data
