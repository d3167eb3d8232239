"""A file of torch.export.save, turned into one that is safe to load: every part checked, every pickle written anew.

torch.export.load unpickles sample inputs, weights of tensor subclasses and opaque objects, with a full unpickler
wherever its restricted one fails, and reads weights by paths that the file names. In the archive made here, pickles
are those that torch.save writes here from plain tensors, and weights are bytes whose number fits.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.json_text import read_json
from bnfold.frontends.torch_archive.layout import is_old_program, parts_of_program
from bnfold.frontends.torch_archive.pickle_values import Call, Global, walk
from bnfold.frontends.torch_archive.program import ProgramChecker
from bnfold.frontends.torch_archive.saved import Saved, read_safely, read_saved, rebuilt
from bnfold.frontends.torch_archive.tensors import DTYPES, StoredTensor, check_extent
from bnfold.frontends.torch_archive.zip_reader import Buffer, Entry
from bnfold.keywords import keyword

_MODEL = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_PREFIXES = {_WEIGHTS: "weight_", _CONSTANTS: "tensor_"}
_CONFIGS = {_WEIGHTS: f"{_WEIGHTS}model_weights_config.json", _CONSTANTS: f"{_CONSTANTS}model_constants_config.json"}
_LEGACY = {folder: f"{folder}model.pt" for folder in _CONFIGS}
_NOTES: Mapping[str, bytes] = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
_WRITTEN_ANEW = re.compile(r"version|\.data/\w+|\.format_version|\.storage_alignment")
_OBJECT = re.compile(r"(custom|opaque)_obj_\d+")
_EXTRA = "extra/"


@dataclass
class CleanProgram:
    """The checked parts of an exported program.

    Attributes:
        program: the JSON of the program; it may be changed before it is loaded.
        payloads: the JSON of its weights and of its constants, by the folder that holds them.
        blobs: the bytes of weights, constants and sample inputs, by their path.
        beside: files that the user put beside the program, which go into a folded file as they are, by their path.
        left_out: names of parts that neither torch reads nor a folded file gets.
    """

    program: dict[str, Any]
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, Buffer] = field(default_factory=dict)
    beside: dict[str, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def archive(self) -> CleanArchive:
        """A file for torch.export.load."""
        parts: dict[str, Buffer] = {
            **self.blobs,
            **{_CONFIGS[folder]: _json(config) for folder, config in self.payloads.items()},
            _MODEL: _json(self.program),
            **_NOTES,
            ".data/version": b"6\n",
        }
        return CleanArchive({f"archive/{name}": content for name, content in parts.items()})


def _json(tree: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(tree, allow_nan=False).encode()


def clean_program(entries: Mapping[str, Entry], imports: Iterable[str]) -> CleanProgram:
    """Check a file of torch.export.save.

    Args:
        entries: of the file.
        imports: packages that the user named.

    Raises:
        ModelFormatError: it is damaged, or not what torch.export.save writes.
        UnsupportedModelError: it holds something that no program needs.
    """
    parts = parts_of_program(entries)
    reader = _OldReader(parts, tuple(imports)) if is_old_program(parts) else _Reader(parts, tuple(imports))
    return reader.read()


class _Reader:
    """Reads the layout of torch 2.8 and newer."""

    def __init__(self, parts: Mapping[str, Entry], imports: tuple[str, ...]) -> None:
        self._parts = parts
        self._imports = imports
        self._checker = ProgramChecker(imports)

    def read(self) -> CleanProgram:
        """All of it."""
        self._check_notes()
        clean = CleanProgram(self._program(_MODEL))
        self._read_payloads(clean, _WEIGHTS)
        self._read_payloads(clean, _CONSTANTS)
        self._read_samples(clean, _SAMPLES)
        clean.beside = self._extra(_EXTRA)
        read = {*_NOTES, _MODEL, *_CONFIGS.values(), *_LEGACY.values(), *clean.blobs, *clean.beside}
        clean.left_out += tuple(name for name in self._parts if name not in read and not _WRITTEN_ANEW.fullmatch(name))
        return clean

    def _content(self, name: str) -> Buffer:
        if name not in self._parts:
            raise ModelFormatError(f"has no {name!r}, which torch.export.save writes")
        return self._parts[name].content()

    def _check_notes(self) -> None:
        """Of the few bytes that say what the archive is."""
        for name, known in _NOTES.items():
            if name in self._parts and bytes(self._content(name)) != known:
                raise UnsupportedModelError(f"has another {name} than this version of torch reads")

    def _program(self, name: str) -> dict[str, Any]:
        tree: dict[str, Any] = read_json(name, self._content(name))
        self._checker.check_program(tree)
        return tree

    def _extra(self, folder: str) -> dict[str, bytes]:
        found = {}
        for name, entry in self._parts.items():
            if name.startswith(folder):
                content = bytes(entry.content())
                try:
                    content.decode()
                except UnicodeDecodeError as error:
                    raise ModelFormatError(
                        f"holds {name!r}, which is no text: torch.export.load reads texts"
                    ) from error
                found[f"{_EXTRA}{name.removeprefix(folder)}"] = content
        return found

    def _read_samples(self, clean: CleanProgram, name: str) -> None:
        """Sample inputs, pickled anew; none where the program was traced with tensors that have no values."""
        clean.blobs[_SAMPLES] = b""
        if name not in self._parts or not self._parts[name].size:
            return
        saved = read_saved(name, self._content(name), self._imports)
        if saved.is_fake:
            clean.left_out += (name,)
        else:
            clean.blobs[_SAMPLES] = _pickled_anew(saved)

    def _read_payloads(self, clean: CleanProgram, folder: str) -> None:
        legacy = _LEGACY[folder]
        if legacy in self._parts:
            self._take_saved(clean, folder, legacy)
            return
        name = _CONFIGS[folder]
        config = read_json(name, self._content(name))
        self._checker.check_payloads(config)
        for payload in config["config"].values():
            self._take(clean, folder, payload)
        clean.payloads[folder] = config

    def _take(self, clean: CleanProgram, folder: str, payload: dict[str, Any]) -> None:
        """One weight or constant."""
        name = payload["path_name"]
        path = f"{folder}{name}"
        content = self._content(path)
        if folder == _CONSTANTS and _OBJECT.fullmatch(name):
            clean.blobs[path] = self._object(name, content)
        elif not re.fullmatch(rf"{_PREFIXES[folder]}\d+", name):
            raise UnsupportedModelError(f"reads a weight from the entry {path[:80]!r}, where torch writes none")
        elif payload["use_pickle"]:
            clean.blobs[path] = self._pickled(path, content)
        else:
            _check_bytes(path, payload.get("tensor_meta"), content)
            clean.blobs[path] = content

    def _object(self, name: str, content: Buffer) -> Buffer:
        """An object of a class in another package, which the user must have named."""
        if not self._imports:
            raise UnsupportedModelError(
                "holds an object of a class of another package, which runs code of it: name it with "
                f"{keyword('imports')}"
            )
        if name.startswith("custom"):
            raise UnsupportedModelError("holds an object of a class of C++, which bnfold does not load")
        read_safely(name, content, self._imports)
        return bytes(content)

    def _pickled(self, path: str, content: Buffer) -> bytes:
        """A tensor that is pickled because it is of a subclass: allowed where the user named its package."""
        return _pickled_anew(read_saved(path, content, self._imports))

    def _take_saved(self, clean: CleanProgram, folder: str, name: str) -> None:
        """All weights or constants out of one pickle, as older versions wrote them."""
        config: dict[str, Any] = {}
        if self._parts[name].size:
            saved = read_saved(name, self._content(name), self._imports)
            tensors = _tensors(name, saved)
            keys = list(dict.fromkeys(tensor.key for tensor in tensors.values()))
            paths = {key: f"{_PREFIXES[folder]}{index}" for index, key in enumerate(keys)}
            for path, tensor in tensors.items():
                config[path] = _payload(paths[tensor.key], tensor)
            clean.blobs |= {f"{folder}{path}": saved.storages[key] for key, path in paths.items()}
        clean.payloads[folder] = {"config": config}
        self._checker.check_payloads(clean.payloads[folder])


class _OldReader(_Reader):
    """Reads the layout of torch 2.4 to 2.7, whose parts are those of the newer one under other names."""

    def read(self) -> CleanProgram:
        """All of it."""
        clean = CleanProgram(self._program("serialized_exported_program.json"))
        for folder, name in ((_WEIGHTS, "serialized_state_dict"), (_CONSTANTS, "serialized_constants")):
            found = next((f"{name}{ending}" for ending in (".pt", ".json") if f"{name}{ending}" in self._parts), None)
            if found is None:
                raise ModelFormatError(f"has no {name}.pt, which torch.export.save writes")
            self._take_saved(clean, folder, found)
        self._read_samples(clean, "serialized_example_inputs.pt")
        clean.beside = self._extra("extra_files/")
        return clean


def _pickled_anew(saved: Saved) -> bytes:
    """A file of torch.save with the same values; a copy where a package of the user has to make them."""
    if _is_foreign(saved):
        return _copied(saved)
    buffer = io.BytesIO()
    torch.save(rebuilt(saved), buffer)
    return buffer.getvalue()


def _is_foreign(saved: Saved) -> bool:
    """Whether a class of another package is in it, which only torch's own unpickler can make."""
    known = {"collections", "builtins", "__builtin__", "_codecs", "torch", "torch._utils", "torch.storage"}
    return any(isinstance(part, (Call, Global)) and _module(part) not in known for part in _walk(saved))


def _module(part: Call | Global) -> str:
    return part.module if isinstance(part, Global) else part.function.module


def _walk(saved: Saved) -> Iterable[object]:
    return walk(saved.value)


def _copied(saved: Saved) -> bytes:
    """The same file of torch.save, laid out anew."""
    return CleanArchive(saved.parts).read()


def _tensors(name: str, saved: Saved) -> dict[str, StoredTensor]:
    value = saved.value
    if isinstance(value, Call) and value.function == Global("collections", "OrderedDict"):
        value = value.state or {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ModelFormatError(f"holds {name!r}, which is no dict of tensors")
    others = next((key for key, part in value.items() if not isinstance(part, Call)), None)
    if others is not None:
        raise UnsupportedModelError(f"holds {others[:80]!r}, which is no tensor")
    return {key: saved.tensor(part) for key, part in value.items()}


def _payload(path: str, tensor: StoredTensor) -> dict[str, Any]:
    from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE

    known = getattr(torch, tensor.dtype, None)
    dtype = _TORCH_TO_SERIALIZE_DTYPE.get(known) if isinstance(known, torch.dtype) else None
    if dtype is None:
        raise UnsupportedModelError(f"holds a weight of the type {tensor.dtype}, which torch.export does not write")
    numbers: Callable[[Iterable[int]], list[dict[str, int]]] = lambda values: [{"as_int": value} for value in values]  # noqa: E731
    return {
        "path_name": path,
        "is_param": tensor.is_parameter,
        "use_pickle": False,
        "tensor_meta": {
            "dtype": int(dtype),
            "sizes": numbers(tensor.shape),
            "requires_grad": tensor.requires_grad,
            "device": {"type": "cpu", "index": None},
            "strides": numbers(tensor.stride),
            "storage_offset": {"as_int": tensor.offset},
            "layout": 7,
        },
    }


def _check_bytes(path: str, meta: dict[str, Any] | None, content: Buffer) -> None:
    """Whether a tensor lies within the bytes that are stored of it."""
    from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE

    if meta is None or meta["layout"] != 7 or meta["dtype"] not in _SERIALIZE_TO_TORCH_DTYPE:
        raise UnsupportedModelError(f"holds a weight in {path!r} that is not stored as plain numbers")
    itemsize = DTYPES[str(_SERIALIZE_TO_TORCH_DTYPE[meta["dtype"]]).removeprefix("torch.")]
    if len(content) % itemsize:
        raise ModelFormatError(f"holds {path!r} of {len(content):,} bytes, which are no numbers of {itemsize} bytes")
    sizes, strides = ([size.get("as_int") for size in meta[key]] for key in ("sizes", "strides"))
    check_extent(sizes, strides, meta["storage_offset"].get("as_int"), len(content) // itemsize, itemsize)
