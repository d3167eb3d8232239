"""Files of torch.save inside an archive: sample inputs, and weights of older versions, read without torch.load.

They are zips of their own, which hold one pickle and the storages that it refers to.
"""

import re
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.pickle_values import Call, Global, PickleRefusedError, walk
from bnfold.frontends.torch_archive.pickles import read_pickle
from bnfold.frontends.torch_archive.tensors import DTYPES, STORAGES, StoredTensor, tensor_of
from bnfold.frontends.torch_archive.zip_reader import Buffer, read_zip

_REBUILDS = frozenset({"_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_qtensor"})
_OF_TORCH = frozenset({*STORAGES, *DTYPES, "Size", "device"})
# Protocol 2, which torch writes, spells builtins as Python 2 did, and bytes as an encoded text.
_PLAIN_CALLS = frozenset(
    {
        Global("torch", "Size"),
        Global("torch", "device"),
        Global("_codecs", "encode"),
        *(Global(module, name) for module in ("builtins", "__builtin__") for name in ("complex", "set")),
    }
)
_OTHERS = frozenset({Global("collections", "OrderedDict"), *_PLAIN_CALLS})
_FAKE = Global("torch._export.serde.serialize", "_reconstruct_fake_tensor")
_ENTRIES = re.compile(
    r"data\.pkl|data/\w+|version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment"
)


@dataclass(frozen=True)
class Saved:
    """What torch.save wrote.

    Attributes:
        value: what the pickle would build, inert.
        storages: the bytes of each storage by its key.
        parts: all entries, for a copy of the file.
    """

    value: Any
    storages: Mapping[str, Buffer]
    parts: Mapping[str, Buffer]

    @property
    def is_fake(self) -> bool:
        """Whether it holds tensors without values, which torch.export traces with."""
        return any(isinstance(part, Call) and part.function == _FAKE for part in walk(self.value))

    def tensor(self, call: Call) -> StoredTensor:
        """A tensor that the pickle rebuilds.

        Raises:
            ModelFormatError, UnsupportedModelError: it does not fit to its storage, or is of an unknown kind.
        """
        return tensor_of(call, {key: len(content) for key, content in self.storages.items()})


def read_saved(name: str, data: Buffer, imports: Iterable[str]) -> Saved:
    """Read a file of torch.save; all its tensors fit into their storages.

    Args:
        name: of the entry that holds it, for messages.
        data: the file.
        imports: packages that the user named, whose classes it may hold.

    Raises:
        ModelFormatError: it is damaged.
        UnsupportedModelError: it holds something else than tensors and containers of them.
    """
    if bytes(data[:4]) != b"PK\3\4":
        raise UnsupportedModelError(
            f"holds a pickle in {name!r} that could run code: only files of torch.save are read"
        )
    entries = read_zip(data)
    folder = next(iter(entries)).partition("/")[0]
    parts = {entry.removeprefix(f"{folder}/"): content.content() for entry, content in entries.items()}
    odd = next((part for part in parts if not _ENTRIES.fullmatch(part)), None)
    if odd is not None or "data.pkl" not in parts:
        raise ModelFormatError(f"holds {name!r}, which is not a file of torch.save")
    if bytes(parts.get("byteorder", b"little")) != b"little":
        raise UnsupportedModelError(f"holds {name!r}, written on a big-endian machine")
    storages = {part.removeprefix("data/"): content for part, content in parts.items() if part.startswith("data/")}
    value = read_safely(name, parts["data.pkl"], imports)
    saved = Saved(value, storages, {f"archive/{part}": content for part, content in parts.items()})
    for part in walk(value):
        if isinstance(part, Call) and part.function.name in _REBUILDS:
            saved.tensor(part)
    return saved


def parts_of_saved(data: Buffer) -> dict[str, Buffer]:
    """The entries of a file that torch.save wrote here."""
    return {name: entry.content() for name, entry in read_zip(data).items()}


def read_safely(name: str, data: Buffer, imports: Iterable[str]) -> Any:  # noqa: ANN401 - any inert value
    """Read a pickle of tensors, containers, and classes of packages that the user named.

    Raises:
        ModelFormatError: it is damaged.
        UnsupportedModelError: it names something else.
    """
    named = tuple(imports)
    try:
        return read_pickle(data, lambda one: _is_known(one) or _is_class_of(one, named))
    except PickleRefusedError as error:
        raise UnsupportedModelError(
            f"holds a pickle in {name!r} that could run code (it {error}): nothing in it was executed"
        ) from error


def _is_known(one: Global) -> bool:
    return (
        one in _OTHERS
        or one == _FAKE
        or (one.module == "torch" and one.name in _OF_TORCH)
        or (one.module == "torch._utils" and one.name in _REBUILDS)
        or (one.module == "torch.storage" and one.name == "UntypedStorage")
    )


def _is_class_of(one: Global, imports: tuple[str, ...]) -> bool:
    """Whether it is a class of a package that the user named; nothing is imported for it."""
    package = one.module.partition(".")[0]
    if not any(package == name.partition(".")[0] for name in imports):
        return False
    found = getattr(sys.modules.get(one.module), one.name, None)
    return isinstance(found, type) and found.__module__.partition(".")[0] == package


def rebuilt(saved: Saved) -> Any:  # noqa: ANN401 - whatever was saved
    """The real value, its tensors on the CPU, made without any unpickler.

    Raises:
        ModelFormatError: it is damaged.
        UnsupportedModelError: it holds something else than tensors and containers of them.
    """
    try:
        return _Rebuilder(saved).value(saved.value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelFormatError("holds sample inputs that are damaged") from error


class _Rebuilder:
    """Makes real values of inert ones; tensors on one storage stay on one."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._storages: dict[str, torch.UntypedStorage] = {}

    def value(self, value: Any) -> Any:  # noqa: ANN401
        """A real value."""
        match value:
            case None | bool() | int() | float() | str() | bytes():
                return value
            case Global(module="torch", name=name) if name in DTYPES:
                return getattr(torch, name)
            case Call():
                return self._call(value)
            case dict():
                return {self.value(key): self.value(part) for key, part in value.items()}
            case tuple() | list() | set():
                return type(value)(self.value(part) for part in value)
        raise UnsupportedModelError(f"holds sample inputs with a {type(value).__name__}, which bnfold cannot rebuild")

    def _call(self, call: Call) -> Any:  # noqa: ANN401
        if call.function.module == "torch._utils":
            return self._tensor(self._saved.tensor(call))
        if call.function == Global("collections", "OrderedDict") and not call.arguments:
            return OrderedDict(self.value(call.state or {}))
        if call.function in _PLAIN_CALLS:
            return _called(call, [self.value(argument) for argument in call.arguments])
        raise UnsupportedModelError(f"holds sample inputs of the kind {call.function}, which bnfold cannot rebuild")

    def _tensor(self, stored: StoredTensor) -> torch.Tensor:
        if stored.dtype.startswith("q") or not stored.dtype:
            raise UnsupportedModelError("holds sample inputs that are quantized, which bnfold cannot rebuild")
        tensor = torch.empty(0, dtype=getattr(torch, stored.dtype))
        tensor.set_(self._storage(stored.key), stored.offset, stored.shape, stored.stride)
        if stored.is_parameter:
            return torch.nn.Parameter(tensor, requires_grad=stored.requires_grad)
        return tensor.requires_grad_(stored.requires_grad)

    def _storage(self, key: str) -> torch.UntypedStorage:
        if key not in self._storages:
            content = bytearray(self._saved.storages[key])
            held = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            self._storages[key] = held.untyped_storage()
        return self._storages[key]


def _called(call: Call, arguments: list[Any]) -> Any:  # noqa: ANN401
    match call.function.name, arguments:
        case "Size", [tuple() | list() as sizes]:
            return torch.Size(sizes)
        case "device", [str(kind), *index] if kind.isalnum():
            return torch.device(kind, *index)
        case "encode", [str(text), "latin1"]:
            return text.encode("latin1")
        case "complex", [float(real), float(imaginary)]:
            return complex(real, imaginary)
        case "set", [list(parts)]:
            return set(parts)
    raise ModelFormatError(f"holds sample inputs with a {call.function} that torch does not write")
