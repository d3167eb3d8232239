"""Where tensor data lies: inside the protobuf, or in files beside the model. Files are mapped, never loaded whole."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnx.numpy_helper

from bnfold.errors import ModelFormatError
from bnfold.frontends.onnx.graph import subgraphs

AnyArray = npt.NDArray[np.generic]


class TensorStore:
    """Reads tensors of one model.

    Args:
        folder: of the model file, against which external locations are resolved; None for a model in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._mapped: dict[Path, npt.NDArray[np.uint8]] = {}

    def read(self, tensor: onnx.TensorProto) -> AnyArray:
        """The values of a tensor in its own type.

        Raises:
            ModelFormatError: the data is missing or of the wrong length.
        """
        try:
            if is_external(tensor):
                return self._read_external(tensor)
            return onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFormatError(f"tensor {tensor.name!r} cannot be read: {error}") from error

    def raw_bytes(self, tensor: onnx.TensorProto) -> memoryview:
        """The bytes of an external tensor, mapped.

        Raises:
            ModelFormatError: the file is missing, too short, or outside the model's folder.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = self._map(tensor.name, entries.get("location", ""))
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries["length"]) if "length" in entries else data.size - offset
        except ValueError as error:
            raise ModelFormatError(f"external data of tensor {tensor.name!r}: {error}") from error
        if offset < 0 or length < 0 or offset + length > data.size:
            raise ModelFormatError(
                f"tensor {tensor.name!r} needs bytes {offset} to {offset + length} of {entries.get('location')!r}, "
                f"which has {data.size}; the data file is truncated or belongs to another model"
            )
        return data[offset : offset + length].data

    def data_files(self, model: onnx.ModelProto) -> list[Path]:
        """The files beside the model that hold data of its tensors, without repeats."""
        locations = {
            entry.value: None
            for tensor in all_tensors(model)
            if is_external(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
        return [] if self._folder is None else [self._folder / location for location in locations]

    def _read_external(self, tensor: onnx.TensorProto) -> AnyArray:
        raw = self.raw_bytes(tensor)
        inline = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if dtype.itemsize * math.prod(tensor.dims) == raw.nbytes:
            return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
        inline.raw_data = raw.tobytes()
        return onnx.numpy_helper.to_array(inline)

    def _map(self, name: str, location: str) -> npt.NDArray[np.uint8]:
        if self._folder is None:
            raise ModelFormatError(
                f"tensor {name!r} lies in {location!r}, beside a model that was given without its path; "
                "give the path, or load the external data first"
            )
        if Path(location).is_absolute() or ".." in Path(location).parts:
            raise ModelFormatError(f"tensor {name!r} lies in {location!r}, outside the model's folder: refused")
        path = self._folder / location
        if path not in self._mapped:
            self._mapped[path] = _map_file(path, name)
        return self._mapped[path]


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data of a tensor lies in another file."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor: initializers and tensor attributes, those of bodies and functions too, in file order."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
    for _, body in subgraphs(node):
        yield from _graph_tensors(body)


def _map_file(path: Path, name: str) -> npt.NDArray[np.uint8]:
    try:
        if path.stat().st_size == 0:
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        reason = error.strerror or error
        raise ModelFormatError(f"tensor {name!r} lies in {str(path)!r}, which cannot be read: {reason}") from error
