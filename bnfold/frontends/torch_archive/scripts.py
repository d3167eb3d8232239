"""A TorchScript file, turned into one that is safe to load: every part checked, and only those that torch needs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.layout import parts_of_script
from bnfold.frontends.torch_archive.operators import check_operator
from bnfold.frontends.torch_archive.script_code import check_code
from bnfold.frontends.torch_archive.script_pickles import check_pickle
from bnfold.frontends.torch_archive.traced_inputs import parts_of_trace
from bnfold.frontends.torch_archive.zip_reader import Buffer, Entry

_EXTRA = "extra/"
_STORED_BY = {"data/": "data.pkl", "constants/": "constants.pkl"}
_FOR_PHONES = re.compile(r"bytecode(\.pkl|/.+)|mobile_debug_handles\.pkl")
_PHONES_DEBUG = "mobile_debug_handles.pkl"
# torch writes these anew, for the code that a folded file has.
_WRITTEN_ANEW = re.compile(
    r"code/.+\.debug_pkl|\.data/\w+|\.format_version|\.storage_alignment|bytecode(\.pkl|/.+)|mobile_debug_handles\.pkl|"
    r"delegated_backends\.debug_pkl|callstack_debug_map\.pkl"
)
_OPERATOR = re.compile(r"\bops\.(\w+)\.(\w+)")


@dataclass(frozen=True)
class CleanScript:
    """The checked parts of a TorchScript file.

    Attributes:
        parts: what torch needs, by its name in the archive's folder.
        beside: parts that torch does not read, and that go into a folded file as they are: files that the user put
            beside the module, and what a trace was made with.
        left_out: names of parts that neither torch reads nor a folded file gets.
        is_for_phones: whether it holds bytecode for the interpreter on phones as well, which is not loaded.
        explains_bytecode: whether it says where each piece of the bytecode came from.
    """

    parts: dict[str, Buffer]
    beside: dict[str, bytes]
    left_out: tuple[str, ...]
    is_for_phones: bool
    explains_bytecode: bool

    def archive(self) -> CleanArchive:
        """A file for torch.jit.load."""
        return CleanArchive({f"archive/{name}": content for name, content in self.parts.items()})


def clean_script(entries: Mapping[str, Entry], imports: Iterable[str]) -> CleanScript:
    """Check a TorchScript file.

    Args:
        entries: of the file.
        imports: packages that the user named.

    Raises:
        ModelFormatError: it is damaged, or not what torch.jit.save writes.
        UnsupportedModelError: loading or running it would do more than compute.
    """
    named = tuple(imports)
    parts = parts_of_script(entries)
    _check_version(parts)
    kept: dict[str, Buffer] = {name: entry.content() for name, entry in parts.items() if _is_needed(name)}
    unread = set(parts) - {name for name in kept if not name.startswith(tuple(_STORED_BY))}
    for folder, name in _STORED_BY.items():
        sizes = {part.removeprefix(folder): len(content) for part, content in kept.items() if part.startswith(folder)}
        if name not in kept:
            raise ModelFormatError(f"has no {name}, which torch.jit.save writes")
        unread -= {f"{folder}{key}" for key in check_pickle(name, kept[name], sizes, named)}
    code = {name: _decoded(name, content) for name, content in kept.items() if name.endswith(".py")}
    check_code(code)
    for text in code.values():
        for namespace, operator in set(_OPERATOR.findall(text)):
            check_operator(f"{namespace}::{operator}", named)
    beside = {name: bytes(entry.content()) for name, entry in parts.items() if name.startswith(_EXTRA)}
    beside |= parts_of_trace(parts)
    return CleanScript(
        kept,
        beside,
        tuple(name for name in parts if name in unread - set(beside) and not _WRITTEN_ANEW.fullmatch(name)),
        any(_FOR_PHONES.fullmatch(name) for name in parts),
        _PHONES_DEBUG in parts,
    )


def _is_needed(name: str) -> bool:
    return (
        name in ("version", "byteorder", ".data/serialization_id", *_STORED_BY.values())
        or name.startswith(tuple(_STORED_BY))
        or (name.startswith("code/") and name.endswith(".py"))
    )


def _check_version(parts: Mapping[str, Entry]) -> None:
    if "version" in parts:
        version = bytes(parts["version"].content()).strip()
        newest = torch._C._get_max_operator_version()
        if not (version.isdigit() and len(version) < 5 and 0 < int(version) <= newest):
            raise ModelFormatError(f"has the version {version[:20]!r}; torch {torch.__version__} reads 1 to {newest}")
    if "byteorder" in parts and bytes(parts["byteorder"].content()) != b"little":
        raise UnsupportedModelError("was written on a big-endian machine")


def _decoded(name: str, content: Buffer) -> str:
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"holds code in {name!r} that is no text") from error
