"""Names in a file that are not UTF-8. Protobuf gives the bytes of such a name, or raises when it is read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from bnfold.errors import ModelFormatError
from bnfold.intake.tensors import is_external, stored_tensors
from bnfold.intake.walk import bodies, node_lists

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto


@contextmanager
def readable_text(error: type[ModelFormatError] = ModelFormatError) -> Iterator[None]:
    """A context for all work on a model, in which a name that is not UTF-8 becomes an error of bnfold.

    Args:
        error: the class to raise.

    Raises:
        ModelFormatError: a name in it is not UTF-8.
    """
    try:
        yield
    except UnicodeDecodeError as problem:
        raise error(_words(problem.object)) from problem


def check_text(model: "ModelProto") -> None:
    """Refuse a model in which a name that says what it computes is not UTF-8.

    Raises:
        ModelFormatError: one is not UTF-8.
    """
    with readable_text():
        for name in _names(model):
            if isinstance(name, bytes):
                raise ModelFormatError(_words(name))


def _words(name: bytes) -> str:
    return f"holds a name that is not UTF-8, {name[:40]!r}: the file is damaged"


def _names(model: "ModelProto") -> Iterator[object]:
    yield from (entry.domain for entry in model.opset_import)
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
        yield from (entry.domain for entry in function.opset_import)
    for nodes in node_lists(model):
        yield from chain.from_iterable(map(_of_node, nodes))
    for tensor in stored_tensors(model):
        if is_external(tensor):
            yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def _of_node(node: "NodeProto") -> Iterator[object]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    for attribute in node.attribute:
        yield attribute.name
        yield attribute.ref_attr_name
    for body in bodies(node):
        yield from _of_graph(body)


def _of_graph(graph: "GraphProto") -> Iterator[object]:
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    yield from _of_entries(chain(graph.input, graph.output, graph.value_info))
    yield from (entry.tensor_name for entry in graph.quantization_annotation)


def _of_entries(entries: "Iterable[ValueInfoProto]") -> Iterator[object]:
    for entry in entries:
        yield entry.name
        if entry.type.HasField("tensor_type"):
            yield from (dim.dim_param for dim in entry.type.tensor_type.shape.dim)
