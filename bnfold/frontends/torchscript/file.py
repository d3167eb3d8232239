"""TorchScript files: opened only when they are what they say, written whole or not at all."""

import io
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError
from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.devices import rewrite, with_extra_files
from bnfold.frontends.torch_archive.script_devices import devices_of, on_the_cpu
from bnfold.frontends.torch_archive.scripts import CleanScript, clean_script
from bnfold.frontends.torch_archive.zip_reader import opened
from bnfold.frontends.torchscript.prepare import refuse_outside_reach
from bnfold.frontends.torchscript.storage import read_module, write_module

# torch.jit.load copies a file in memory twice before it reads it; larger ones go through the disk.
_MOST_IN_MEMORY = 2**26


def open_script(path: Path, imports: Iterable[str] = ()) -> torch.jit.ScriptModule:
    """Open a file that torch.jit.save wrote. torch is given a copy of its checked parts, never the file.

    Args:
        path: of the file.
        imports: packages that the user named, whose operators it may call.

    Raises:
        ModelFormatError: it cannot be read, is damaged, or is something else, such as a pickle of torch.save.
        UnsupportedModelError: its code reaches files or the network, or calls an operator that nobody named.
    """
    with opened(path) as entries:
        return load_script(clean_script(entries, imports))


def load_script(script: CleanScript) -> torch.jit.ScriptModule:
    """The module out of checked parts.

    Raises:
        As `open_script`.
    """
    try:
        module = _load(on_the_cpu(script).archive())
    except Exception as error:  # whatever torch raises for a damaged file
        raise ModelFormatError(f"torch {torch.__version__} cannot load it: {_first_line(error)}") from error
    refuse_outside_reach(module._c)
    return module


def _load(archive: CleanArchive) -> torch.jit.ScriptModule:
    if archive.size <= _MOST_IN_MEMORY:
        return read_module(io.BytesIO(archive.read()), "cpu")
    with tempfile.TemporaryDirectory(prefix="bnfold-") as folder:
        copy = Path(folder) / "archive.pt"
        with copy.open("wb") as file:
            archive.copy_to(file)
        return read_module(str(copy), "cpu")


def save_script(module: torch.jit.ScriptModule, path: Path, *, for_phones: bool = False) -> None:
    """Write a module.

    Args:
        module: the module.
        path: of the file.
        for_phones: with bytecode for the interpreter on phones as well.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    try:
        if for_phones:
            module._c._save_for_mobile(str(path))  # without the Python around it, which warns
        else:
            write_module(module, str(path))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path.name} cannot be written: {_first_line(error)}") from error


def save_script_like(source: Path, module: torch.jit.ScriptModule, path: Path, imports: Iterable[str] = ()) -> None:
    """Write a folded module with all that the file of its original holds beside it.

    Its tensors live where those of the original do, extra files are carried over, and a file for phones stays one.

    Args:
        source: the file of the original.
        module: on the CPU.
        path: of the new file.
        imports: as for `open_script`.

    Raises:
        UnsupportedModelError: nothing says where a new constant is to live, or the bytecode is for another device.
        UsageError: as `save_script`.
    """
    with opened(source) as entries:
        script = clean_script(entries, imports)
        devices = devices_of(script)
    if devices is not None and script.is_for_phones:
        raise UnsupportedModelError("holds bytecode for phones with tensors on another device than the CPU")
    save_script(module, path, for_phones=script.is_for_phones)
    if devices is not None:
        rewrite(path, devices.restored)
    if script.extra:
        rewrite(path, partial(with_extra_files, script.extra))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
