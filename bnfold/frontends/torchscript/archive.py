"""A TorchScript file before torch sees it: what kind of zip it is, and whether it is safe to open.

Only the zip's directory and the text of its code are read here. No pickle is opened, and nothing of torch is imported.
"""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bnfold.errors import ModelFormatError, UnsupportedModelError

# Code and pickles of real archives stay far below; their tensors are stored without compression.
_MOST_UNPACKED = 2**30

# Methods of these names run while the file is loaded; an interface is called without its code being known beforehand.
_RUNS_UNSEEN = re.compile(r"__setstate__|\bInterface\b")
_REACHES_OUTSIDE = re.compile(r"\b(save|from_file|rpc_sync|rpc_async|rpc_remote)\b|\b(c10d|symm_mem|debugprims)\b")


def is_torchscript(names: Sequence[str]) -> bool:
    """Whether a zip with these entries was written by torch.jit.save: it holds code, and constants beside its data."""
    parts = [PurePosixPath(name).parts for name in names]
    return any(len(part) > 2 and part[1] == "code" for part in parts) and any(
        part[1:] == ("constants.pkl",) for part in parts
    )


def check_archive(path: Path) -> None:
    """Refuse what is no TorchScript archive, and what is one in name only.

    Raises:
        ModelFormatError: it is no zip, a damaged one, or its entries are not those of torch.jit.save.
        UnsupportedModelError: loading it could reach files or the network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive.infolist())
            _check_code(archive)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.LargeZipFile) as error:
        raise ModelFormatError(f"is not a TorchScript file, or a damaged one: {error}") from error
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if not is_torchscript(names):
        kind = "a file of torch.save" if any(name.endswith("data.pkl") for name in names) else "a zip of something else"
        raise ModelFormatError(
            f"is {kind}, not TorchScript: write it with torch.jit.save(torch.jit.script(model), path)"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelFormatError(f"is not a file that torch.jit.save writes: it holds {twice!r} twice")
    odd = next((name for name in names if _is_odd(name)), None)
    if odd is not None:
        raise ModelFormatError(f"is not a file that torch.jit.save writes: it has an entry called {odd!r}")
    folders = {PurePosixPath(name).parts[0] for name in names}
    if len(folders) > 1:
        raise ModelFormatError(f"is not a file that torch.jit.save writes: it has {len(folders)} folders at its top")
    unpacked = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
    if unpacked > _MOST_UNPACKED:
        raise ModelFormatError(f"unpacks to {unpacked:,} bytes of code, more than the {_MOST_UNPACKED:,} that are read")


def _is_odd(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not name.isprintable()


def _check_code(archive: zipfile.ZipFile) -> None:
    """Code that runs before it can be inspected must not hold a word that reaches outside."""
    code = [archive.read(name).decode(errors="replace") for name in archive.namelist() if name.endswith(".py")]
    if not any(_RUNS_UNSEEN.search(text) for text in code):
        return
    found = next((match for text in code if (match := _REACHES_OUTSIDE.search(text))), None)
    if found is not None:
        raise UnsupportedModelError(
            f"holds code that could run on loading and names {found.group()!r}, which reaches files or the network: "
            "bnfold does not load it"
        )
