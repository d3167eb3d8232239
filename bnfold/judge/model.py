"""A model as it lies in its file, and the same model with more outputs."""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import VerificationError
from bnfold.judge.external import Array, is_external, map_external

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

ModelSource = str | os.PathLike[str] | bytes
"""A path, so that external data beside it is found and size is no limit, or a serialised ModelProto."""


class Model:
    """One of the two models of a check.

    Args:
        role: how messages call it: "the original".
        source: where it is.
        beside: values of initializers whose data it says is external, in place of files.
        folder: where the external data of a serialised model lies.

    Attributes:
        role: the same.
        data: the serialised ModelProto, without external data.
        folder: where its external data lies; "" where it can have none.

    Raises:
        VerificationError: there is no such file, or it cannot be read.
    """

    def __init__(
        self, role: str, source: ModelSource, beside: "Mapping[str, Array] | None" = None, folder: str = ""
    ) -> None:
        self.role = role
        self._beside = beside
        self.folder = folder if isinstance(source, bytes) else str(Path(source).absolute().parent)
        try:
            self.data = source if isinstance(source, bytes) else Path(source).read_bytes()
        except OSError as error:
            raise VerificationError(f"onnxruntime cannot load {role}: {error.strerror or error}") from error

    @cached_property
    def proto(self) -> "ModelProto":
        """The parsed model.

        Raises:
            VerificationError: it is none.
        """
        import onnx
        from google.protobuf.message import DecodeError

        try:
            proto: ModelProto = onnx.ModelProto.FromString(self.data)
        except DecodeError as error:
            raise VerificationError(f"onnxruntime cannot load {self.role}: protobuf parsing failed") from error
        return proto

    @cached_property
    def external(self) -> "dict[str, Array]":
        """The initializers of the graph whose data lies in other files; only those that are read.

        Raises:
            VerificationError: it is not there.
        """
        if self._beside is not None:
            return dict(self._beside)
        outside = [tensor for tensor in self.proto.graph.initializer if is_external(tensor)]
        read = _names_read(self.proto.graph) if outside else set()
        return {tensor.name: map_external(self.role, tensor, self.folder) for tensor in outside if tensor.name in read}

    @cached_property
    def emulated(self) -> "Model | None":
        """The same model without bfloat16 arithmetic, which onnxruntime's CPU provider lacks; None if it has none."""
        from bnfold.judge.bfloat16 import emulate

        proto = None if self.external else emulate(self.proto)
        return None if proto is None else Model(self.role, proto.SerializeToString())

    def exposing(self, tensors: Iterable[str]) -> bytes:
        """The model with tensors of its graph as further outputs.

        Serialised messages that stand one behind the other are one merged message, whose lists follow each other
        (protobuf, "Encoding: last one wins"): the weights need not be written again.
        """
        import onnx

        outputs = [onnx.ValueInfoProto(name=name) for name in tensors]
        addition: bytes = onnx.ModelProto(graph=onnx.GraphProto(output=outputs)).SerializeToString()
        return self.data + addition


def _names_read(graph: "GraphProto") -> set[str]:
    """The tensors that a graph and its bodies read or put out."""
    names = {entry.name for entry in graph.output}
    for node in graph.node:
        names |= set(node.input)
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                names |= _names_read(body)
    return names
