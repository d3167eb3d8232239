"""Large weights outside of the protobuf: those of a file stay in its bytes, and new ones are made when it is written.

To parse a weight, to give it out, to take it in and to serialise it costs protobuf a copy each, in memory that is new
to the process, which takes longer than all arithmetic of a fold. So the large initializers of a file are not parsed. A
mark in the tensor says where its data is, and the data is put in its place when the model is written.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
from google.protobuf.message import DecodeError

from bnfold.frontends.common.rounded_weight import RoundedWeight, bytes_of
from bnfold.intake.protobuf_fields import Buffer, Field, fields, header, number_of
from bnfold.intake.protobuf_scan import LARGEST_INSIDE, without_weights

_GRAPH = number_of(onnx.ModelProto.DESCRIPTOR, "graph")
_INITIALIZER = number_of(onnx.GraphProto.DESCRIPTOR, "initializer")
_RAW_DATA = number_of(onnx.TensorProto.DESCRIPTOR, "raw_data")
_TYPES = frozenset((onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE))

Data: TypeAlias = memoryview | RoundedWeight
"""Bytes, or what makes them when they are written."""


def pieces_of(data: Data) -> Iterable[memoryview]:
    """The bytes in their order, of which each piece is good until the next."""
    return data.pieces() if isinstance(data, RoundedWeight) else (data,)


class LargeWeights:
    """The data of the marked tensors of one model.

    Args:
        file: the serialised model, as its file holds it.
        let_go: gives back the memory of what was read of it; who reads it again gets it again.

    Attributes:
        file, let_go: the same.
        bare: the same without the data of large initializers, which are marked.
    """

    def __init__(self, file: Buffer, let_go: Callable[[], None] = lambda: None) -> None:
        self.file = file
        self.let_go = let_go
        self._view = memoryview(file)
        # No file can hold a mark that is taken for one of these.
        self._key = f"bnfold.{os.urandom(8).hex()}"
        self._data: list[Data] = []
        self.bare = self._without_weights()

    def find(self, tensor: onnx.TensorProto) -> Data | None:
        """The data of a marked tensor; None of all others."""
        entries = tensor.external_data
        if len(entries) != 1 or entries[0].key != self._key:
            return None
        return self._data[int(entries[0].value)]

    def hold(self, values: npt.NDArray[np.generic] | RoundedWeight, name: str) -> onnx.TensorProto | None:
        """A marked tensor with these values; None where they are better held by the protobuf."""
        kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        if kind not in _TYPES or values.nbytes <= LARGEST_INSIDE:
            return None
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=values.shape)
        self._mark(tensor, values if isinstance(values, RoundedWeight) else bytes_of(values))
        return tensor

    def bring_back(self, model: onnx.ModelProto) -> None:
        """Put all data into the protobuf."""
        for tensor in model.graph.initializer:
            data = self.find(tensor)
            if data is not None:
                del tensor.external_data[:]
                tensor.raw_data = b"".join(pieces_of(data))

    def serialised(self, model: onnx.ModelProto) -> Iterator[Buffer]:
        """The model with all its data, as `SerializeToString(deterministic=True)` would give it, in pieces."""
        tensors = [self._tensor(tensor) for tensor in model.graph.initializer]
        rest = onnx.ModelProto()
        rest.CopyFrom(model)
        del rest.graph.initializer[:]
        data = rest.SerializeToString(deterministic=True)
        graph = next(field for field in fields(data, 0, len(data)) if field.number == _GRAPH)
        place = _place_of(_INITIALIZER, fields(data, graph.begin, graph.stop), graph.stop)
        sizes = [sum(part.nbytes for part in parts) for parts in tensors]
        headers = [header(_INITIALIZER, size) for size in sizes]
        yield data[: graph.start]
        yield header(_GRAPH, graph.size + sum(sizes) + sum(map(len, headers)))
        yield data[graph.begin : place]
        for start, parts in zip(headers, tensors, strict=True):
            yield start
            for part in parts:
                yield from pieces_of(part)
        yield data[place:]

    def _tensor(self, tensor: onnx.TensorProto) -> list[Data]:
        data = self.find(tensor)
        if data is None:
            return [memoryview(tensor.SerializeToString(deterministic=True))]
        rest = onnx.TensorProto()
        rest.CopyFrom(tensor)
        del rest.external_data[:]
        serialised = rest.SerializeToString(deterministic=True)
        place = _place_of(_RAW_DATA, fields(serialised, 0, len(serialised)), len(serialised))
        before = serialised[:place] + header(_RAW_DATA, data.nbytes)
        return [memoryview(before), data, memoryview(serialised[place:])]

    def _without_weights(self) -> Buffer:
        def mark(tensor: onnx.TensorProto, begin: int, size: int) -> None:
            self._mark(tensor, self._view[begin : begin + size])

        if len(self.file) <= LARGEST_INSIDE:
            return self.file
        try:
            return without_weights(self._view, mark)
        except (ValueError, DecodeError):  # who parses it says what is wrong with it
            return self.file

    def _mark(self, tensor: onnx.TensorProto, data: Data) -> None:
        tensor.external_data.add(key=self._key, value=str(len(self._data)))
        self._data.append(data)


def _place_of(number: int, inside: Iterator[Field], stop: int) -> int:
    """Where a field of this number belongs among others in their order: behind the smaller ones."""
    last = 0
    for field in inside:
        if field.number > number or field.number < last:
            return field.start
        last = field.number
    return stop
