"""A model for onnxruntime: its graph, and the large weights beside it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.absent import strip_absent
from bnfold.intake.calls import check_calls
from bnfold.intake.model_file import check_regular
from bnfold.intake.order import sort_nodes
from bnfold.intake.tensors import is_external, size_in_bytes, stored_tensors
from bnfold.verifier.models.external_data import OWN_BYTES, Array, Files, without_weights
from bnfold.verifier.models.refused import RefusedError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

ModelSource = str | os.PathLike[str] | bytes
"""A path, so that external data beside it is found and size is no limit, or a serialised ModelProto."""


class Model:
    """One of the two models of a check, or a part of one.

    Args:
        role: how messages call it: "the original".
        proto: the model; large weights lie beside it.
        files: where these are.
        libraries: files with operators that onnxruntime has to load before it.
        given: values of initializers in place of its own.

    Attributes:
        role, proto, files, libraries: the same.
    """

    def __init__(
        self,
        role: str,
        proto: "ModelProto",
        files: Files | None = None,
        libraries: Sequence[str] = (),
        given: "Mapping[str, Array] | None" = None,
    ) -> None:
        self.role, self.proto, self.files, self.libraries = role, proto, files or Files(role), tuple(libraries)
        self._given = given or {}

    def derived(self, proto: "ModelProto", given: "Mapping[str, Array] | None" = None) -> "Model":
        """A model that is made of this one: its files and its operators are where this one's are."""
        return Model(self.role, proto, self.files, self.libraries, given)

    @classmethod
    def read(cls, role: str, source: ModelSource, libraries: Sequence[str] = ()) -> "Model":
        """The model in a file, or as it was serialised.

        Raises:
            RefusedError: there is no such file, it is no model, or its external data is missing.
        """
        from google.protobuf.message import DecodeError

        try:
            if isinstance(source, bytes):
                proto, files = _parsed(source, OWN_BYTES), Files(role, own=source)
            else:
                proto, files = _in_file(Path(source)), Files(role, Path(source))
            check_calls(proto)
        except OSError as error:
            raise RefusedError(f"onnxruntime cannot load {role}: {error.strerror or error}", is_invalid=True) from error
        except DecodeError as error:
            raise RefusedError(f"onnxruntime cannot load {role}: protobuf parsing failed", is_invalid=True) from error
        except (ModelFormatError, UnsupportedModelError) as error:
            raise RefusedError(f"{role} {error}", is_invalid=True) from error
        for tensor in filter(is_external, stored_tensors(proto)):  # those of bodies as well
            files.data(tensor)
        return cls(role, proto, files, libraries)

    @cached_property
    def outside(self) -> "dict[str, TensorProto]":
        """The graph's initializers that lie beside it, by name."""
        return {tensor.name: tensor for tensor in self.proto.graph.initializer if is_external(tensor)}

    @cached_property
    def weights(self) -> "dict[str, Array]":
        """Their values.

        Raises:
            RefusedError: a file is missing, or too short.
        """
        found = {name: self.files.values(tensor) for name, tensor in self.outside.items() if name not in self._given}
        return {**found, **self._given}

    @cached_property
    def beside(self) -> "dict[str, Array]":
        """Those of them that onnxruntime does not find by itself.

        Raises:
            RefusedError: as `weights`.
        """
        lost = (name for name, tensor in self.outside.items() if not self.files.finds(tensor))
        return {name: self.weights[name] for name in (*self._given, *lost)}

    @cached_property
    def bytes_outside(self) -> int:
        """How many bytes they take."""
        return sum(size_in_bytes(tensor) or 0 for tensor in self.outside.values())

    @cached_property
    def emulated(self) -> "Model | None":
        """The same model without bfloat16 arithmetic, which onnxruntime's CPU provider lacks; None if it has none."""
        from bnfold.verifier.models.bfloat16 import emulate, widened

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


def _in_file(path: Path) -> "ModelProto":
    check_regular(path)
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return _parsed(b"", path.name)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as data:
            return _parsed(data, path.name)


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
