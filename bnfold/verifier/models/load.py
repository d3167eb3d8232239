"""A model for onnxruntime: its graph, and the large weights beside it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.absent import strip_absent
from bnfold.intake.calls import check_calls
from bnfold.intake.data_folder import DataFolder
from bnfold.intake.model_file import check_regular
from bnfold.intake.order import sort_nodes
from bnfold.intake.tensors import is_external, size_in_bytes, stored_tensors
from bnfold.intake.walk import bodies
from bnfold.verifier.models.external_data import Array, Files, lies_at, of_buffer
from bnfold.verifier.models.protobuf_scan import without_weights
from bnfold.verifier.run.complaints import RefusedError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

ModelSource = str | os.PathLike[str] | bytes
"""A path, so that external data beside it is found and size is no limit, or a serialised ModelProto."""

_OWN_BYTES = "/"  # the name of no file


class Model:
    """One of the two models of a check, or a part of one.

    Args:
        role: how messages call it: "the original".
        proto: the model; large weights lie beside it.
        beside: values of initializers that onnxruntime has to be given.
        folder: where external data lies that onnxruntime finds by itself; None where there is none.
        libraries: files with operators that onnxruntime has to load before it.

    Attributes:
        role, proto, beside, folder, libraries: the same.
    """

    def __init__(
        self,
        role: str,
        proto: "ModelProto",
        beside: "Mapping[str, Array] | None" = None,
        folder: DataFolder | None = None,
        libraries: Sequence[str] = (),
    ) -> None:
        self.role, self.proto, self.beside, self.folder = role, proto, dict(beside or {}), folder
        self.libraries = tuple(libraries)

    def derived(self, proto: "ModelProto", beside: "Mapping[str, Array] | None" = None, role: str = "") -> "Model":
        """A model that is made of this one: its files and its operators are where this one's are.

        Args:
            proto: the model.
            beside: values of initializers that onnxruntime has to be given.
            role: how messages call it, if not like this one.
        """
        return Model(role or self.role, proto, beside, self.folder, self.libraries)

    @classmethod
    def read(cls, role: str, source: ModelSource, libraries: Sequence[str] = ()) -> "Model":
        """The model in a file, or as it was serialised.

        Args:
            role: how messages call it.
            source: the file, or the bytes.
            libraries: as of the class.

        Raises:
            RefusedError: there is no such file, it is no model, or its external data is missing.
        """
        from google.protobuf.message import DecodeError

        try:
            model = _in_bytes(role, source) if isinstance(source, bytes) else _in_file(role, Path(source))
            check_calls(model.proto)
        except OSError as error:
            raise RefusedError(f"onnxruntime cannot load {role}: {error.strerror or error}", is_invalid=True) from error
        except DecodeError as error:
            raise RefusedError(f"onnxruntime cannot load {role}: protobuf parsing failed", is_invalid=True) from error
        except (ModelFormatError, UnsupportedModelError) as error:
            raise RefusedError(f"{role} {error}", is_invalid=True) from error
        model.libraries = tuple(libraries)
        return model

    @cached_property
    def weights(self) -> "dict[str, Array]":
        """Values of the graph's initializers that lie beside it; not of those in files that nobody reads.

        Raises:
            RefusedError: such a file is missing, or too short.
        """
        read = _names_read(self.proto.graph) if self.outside else set()
        needed = [tensor for name, tensor in self.outside.items() if name in read and name not in self.beside]
        return self.beside | {tensor.name: self.external(tensor) for tensor in needed}

    @cached_property
    def outside(self) -> "dict[str, TensorProto]":
        """The graph's initializers that lie beside it, by name."""
        return {tensor.name: tensor for tensor in self.proto.graph.initializer if is_external(tensor)}

    @cached_property
    def bytes_outside(self) -> int:
        """How many bytes they take."""
        return sum(size_in_bytes(tensor) or 0 for tensor in self.outside.values())

    @cached_property
    def _files(self) -> Files:
        return Files(self.role, self.folder)

    def external(self, tensor: "TensorProto") -> Array:
        """The values of a tensor in a file of external data.

        Raises:
            RefusedError: the file is missing, or too short.
        """
        return self._files.values(tensor)

    def require_what_lies_outside(self) -> None:
        """Look whether all external data may be read, that of bodies too, which onnxruntime reads by itself.

        Raises:
            RefusedError: a file is missing, or outside the folder.
        """
        for tensor in stored_tensors(self.proto):
            if is_external(tensor) and tensor.name not in self.beside:
                self._files.require(tensor)

    def give_what_is_linked(self) -> None:
        """Let weights lie in memory that onnxruntime would not find: it follows no link out of the folder."""
        linked = {name for name in self.weights if name not in self.beside and not self._files.has(self.outside[name])}
        self.beside |= {name: self.weights[name] for name in linked}

    @cached_property
    def emulated(self) -> "Model | None":
        """The same model without bfloat16 arithmetic, which onnxruntime's CPU provider lacks; None if it has none."""
        from bnfold.verifier.run.bfloat16 import emulate, widened

        proto = emulate(self.proto)
        return None if proto is None else self.derived(proto, widened(self.weights))

    @cached_property
    def _data(self) -> bytes:
        data: bytes = self.proto.SerializeToString()
        return data

    def exposing(self, tensors: Iterable[str]) -> bytes:
        """The model without large weights, serialised, with tensors of its graph as further outputs.

        Serialised messages that stand one behind the other are one merged message, whose lists follow each other
        (protobuf, "Encoding: last one wins").
        """
        import onnx

        outputs = [onnx.ValueInfoProto(name=name) for name in tensors]
        addition: bytes = onnx.ModelProto(graph=onnx.GraphProto(output=outputs)).SerializeToString()
        return self._data + addition


def _in_file(role: str, path: Path) -> Model:
    check_regular(path)
    with path.open("rb") as file:
        model = Model(role, _mapped(file, path.name), folder=DataFolder(path))
    model.require_what_lies_outside()
    model.give_what_is_linked()
    return model


def _mapped(file: BinaryIO, name: str) -> "ModelProto":
    if not os.fstat(file.fileno()).st_size:
        return _parsed(b"", name)
    with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as data:
        return _parsed(data, name)


def _in_bytes(role: str, data: bytes) -> Model:
    proto = _parsed(data, _OWN_BYTES)
    own = [tensor for tensor in proto.graph.initializer if lies_at(tensor, _OWN_BYTES)]
    model = Model(role, proto, {tensor.name: of_buffer(tensor, data) for tensor in own})
    model.require_what_lies_outside()
    return model


def _parsed(data: bytes | memoryview, location: str) -> "ModelProto":
    """The model, whose large weights stay where they are."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        proto: ModelProto = ModelProto.FromString(without_weights(data, location))
    except (ValueError, DecodeError):  # something that we do not know: protobuf may, or says what is wrong
        proto = ModelProto.FromString(bytes(data))
    strip_absent(proto)
    sort_nodes(proto)
    return proto


def _names_read(graph: "GraphProto") -> set[str]:
    """The tensors that a graph and its bodies read or put out."""
    own = {entry.name for entry in graph.output}
    return own.union(*(({*node.input}.union(*map(_names_read, bodies(node)))) for node in graph.node))
