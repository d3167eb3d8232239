"""ONNX files: opened without loading external data, written whole or not at all."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.onnx.large_weights import LargeWeights, pieces_of
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake.calls import check_calls
from bnfold.intake.data_folder import DataFolder
from bnfold.intake.model_file import read_model_file
from bnfold.intake.order import sort_nodes
from bnfold.intake.other_files import what_else_it_is
from bnfold.intake.protobuf_fields import Buffer
from bnfold.intake.tensors import check_tensors, is_external, stored_tensors
from bnfold.intake.text import check_text
from bnfold.writing.data_names import name_for_data
from bnfold.writing.destination import cannot_be_written

_OLDEST_OPSET = 7
_ZIP_MAGIC = b"PK\x03\x04"
# Readers map data files page by page; onnx's own external-data helper aligns to the same size.
_ALIGNMENT = 4096
_PIECE = 2**23
# A tensor that becomes larger than this while its neighbours lie in a data file goes there too.
_LARGEST_EMBEDDED = 1024


@dataclass(frozen=True)
class OpenModel:
    """A model and where the rest of it lies.

    Attributes:
        model: the protobuf, external data not loaded.
        store: reads its tensors.
        warnings: what was put in order.
    """

    model: onnx.ModelProto
    store: TensorStore
    warnings: tuple[str, ...] = ()

    @property
    def data_files(self) -> list[Path]:
        """The files that hold external data, without repeats."""
        return self.store.data_files(self.model)


def open_model(path: Path) -> OpenModel:
    """Open an ONNX file.

    Raises:
        ModelFormatError: it cannot be read, is no ONNX model, or its external data is missing.
        UnsupportedModelError: its opset is older than 7 or newer than the installed onnx knows.
    """
    file = read_model_file(path)
    if file.data[: len(_ZIP_MAGIC)] == _ZIP_MAGIC:
        raise UnsupportedModelError("is a zip archive (TorchScript or torch.export); export it to ONNX first")
    weights = LargeWeights(file.data, file.let_go)
    opened = in_order(parse_model(weights.bare, weights), TensorStore(DataFolder(path), weights))
    check_external_data(opened)
    return opened


def in_order(model: onnx.ModelProto, store: TensorStore) -> OpenModel:
    """A model whose nodes are sorted in place, if they were not; onnxruntime takes them in any order."""
    moved = sort_nodes(model)
    warnings = ("nodes stood before others that they read from, which ONNX forbids: they were sorted",) if moved else ()
    return OpenModel(model, store, warnings)


def parse_model(data: Buffer, weights: LargeWeights | None = None) -> onnx.ModelProto:
    """A ModelProto from bytes.

    Args:
        data: a serialised model.
        weights: those that it does not hold itself; None where it holds all.

    Raises:
        ModelFormatError, UnsupportedModelError: as `open_model`.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        unknown = "is not an ONNX model, or is truncated (protobuf cannot parse it)"
        raise ModelFormatError(what_else_it_is(data) or unknown) from error
    check_model(model, weights)
    return model


def check_model(model: onnx.ModelProto, weights: LargeWeights | None = None) -> None:
    """Refuse what is no model, what bnfold has not been taught, and what asks for more than the file holds.

    Args:
        model: the model.
        weights: those that it does not hold itself, and that were looked at when they were found.

    Raises:
        ModelFormatError, UnsupportedModelError: as `open_model`.
    """
    check_text(model)
    check_versions(model)
    if model.graph.node and not model.graph.output:
        raise ModelFormatError("has no outputs, so it computes nothing")
    check_tensors(tensor for tensor in stored_tensors(model) if weights is None or weights.find(tensor) is None)
    check_calls(model)


def check_versions(model: onnx.ModelProto) -> None:
    """Refuse what is no model, and operator sets that bnfold has not been taught."""
    if not model.ir_version or not model.HasField("graph"):
        raise ModelFormatError("is not an ONNX model: it has no IR version or no graph")
    newest = onnx.defs.onnx_opset_version()
    for function in model.functions:
        for entry in function.opset_import:
            if entry.domain in ("", "ai.onnx") and not 1 <= entry.version <= newest:
                raise UnsupportedModelError(
                    f"has a function {function.name!r} of opset {entry.version}, the installed onnx "
                    f"{onnx.__version__} knows 1 to {newest}"
                )
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            continue
        if entry.version < _OLDEST_OPSET:
            raise UnsupportedModelError(
                f"has opset {entry.version}, expected {_OLDEST_OPSET} or newer; convert it with onnx.version_converter"
            )
        if entry.version > newest:
            raise UnsupportedModelError(
                f"has opset {entry.version}, the installed onnx {onnx.__version__} knows {newest}; upgrade onnx"
            )


def embed_external_data(opened: OpenModel) -> None:
    """Bring all data into the protobuf, so that the model can live without its files."""
    for tensor in stored_tensors(opened.model):
        if is_external(tensor):
            data = bytes(opened.store.raw_bytes(tensor))
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            tensor.raw_data = data
    if opened.store.weights is not None:
        opened.store.weights.bring_back(opened.model)


def check_external_data(opened: OpenModel) -> None:
    """Raise ModelFormatError where a tensor's external data is not there in full."""
    for tensor in stored_tensors(opened.model):
        if is_external(tensor):
            opened.store.raw_bytes(tensor)


def stage(opened: OpenModel, moved_inside: Sequence[onnx.TensorProto], folder: Path, target: Path) -> list[Path]:
    """Write a model under its final name into a folder, its external data, if any, as one file beside it.

    Args:
        opened: the model; the locations in it are changed to the new data file.
        moved_inside: tensors that lay outside before they were rewritten.
        folder: an existing folder that nobody else uses.
        target: where the model will go; the data file bears a name that no other file has there.

    Returns:
        The files that were written, data first.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    staged = folder / target.name
    outgoing = {id(tensor) for tensor in moved_inside if opened.store.data(tensor).nbytes > _LARGEST_EMBEDDED}
    tensors = [tensor for tensor in stored_tensors(opened.model) if is_external(tensor) or id(tensor) in outgoing]
    try:
        data = [_stage_data(opened.store, tensors, folder, target)] if tensors else []
        with staged.open("wb") as file:
            for piece in _serialised(opened):
                _write(piece, file, opened.store)
    except OSError as error:
        raise cannot_be_written(target, error) from error
    return [*data, staged]


def _serialised(opened: OpenModel) -> Iterable[Buffer]:
    if opened.store.weights is None:
        return [opened.model.SerializeToString(deterministic=True)]
    return opened.store.weights.serialised(opened.model)


def copy_if_unchanged(opened: OpenModel, target: Path) -> Path | None:
    """Copy the file of a model without external data, if that is what is in it.

    Args:
        opened: the model as it is now.
        target: where to copy it.

    Returns:
        The target; None where the model has changed.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    weights = opened.store.weights
    if weights is None:
        return None
    read = onnx.ModelProto.FromString(weights.bare)
    if read.SerializeToString(deterministic=True) != opened.model.SerializeToString(deterministic=True):
        return None
    try:
        target.write_bytes(weights.file)
    except OSError as error:
        raise cannot_be_written(target, error) from error
    return target


def _stage_data(store: TensorStore, tensors: Sequence[onnx.TensorProto], folder: Path, target: Path) -> Path:
    unnamed = folder / "unnamed.data"
    places = _write_data(store, tensors, unnamed)
    path = folder / name_for_data(target, unnamed)
    os.replace(unnamed, path)
    for tensor, place in zip(tensors, places, strict=True):
        _point_to(tensor, path.name, *place)
    return path


def _write_data(store: TensorStore, tensors: Sequence[onnx.TensorProto], path: Path) -> list[tuple[int, int]]:
    """Repack tensors, each stored piece once however many of them share it: their offsets and lengths."""
    placed: dict[tuple[str, ...], tuple[int, int]] = {}
    with path.open("wb") as file:
        for tensor in tensors:
            key = _storage_key(tensor)
            if key not in placed:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                data = store.data(tensor)
                placed[key] = (file.tell(), data.nbytes)
                for piece in pieces_of(data):
                    _write(piece, file, store)
    return [placed[_storage_key(tensor)] for tensor in tensors]


def _write(data: Buffer, file: BinaryIO, store: TensorStore) -> None:
    """Write bytes that may lie in a mapped file, of which no more than a piece is to be in memory."""
    for start in range(0, len(data), _PIECE):
        file.write(data[start : start + _PIECE])
        store.has_lent(min(_PIECE, len(data) - start))


def _storage_key(tensor: onnx.TensorProto) -> tuple[str, ...]:
    if not is_external(tensor):
        return ("new", str(id(tensor)))
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return ("old", entries.get("location", ""), entries.get("offset", "0"), entries.get("length", ""))


def _point_to(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
