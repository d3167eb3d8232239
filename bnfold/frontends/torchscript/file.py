"""TorchScript files: opened only when they are what they say, written whole or not at all."""

from pathlib import Path

import torch

from bnfold.errors import ModelFormatError, UsageError
from bnfold.frontends.torchscript.archive import check_archive
from bnfold.frontends.torchscript.prepare import refuse_outside_reach
from bnfold.frontends.torchscript.storage import read_module, write_module


def open_script(path: Path) -> torch.jit.ScriptModule:
    """Open a file that torch.jit.save wrote. Its pickles hold no Python code and are read by torch's own C++ reader.

    Raises:
        ModelFormatError: it cannot be read, is damaged, or is something else, such as a pickle of torch.save.
        UnsupportedModelError: its code reaches files or the network.
    """
    check_archive(path)
    try:
        module = read_module(str(path), "cpu")
    except (RuntimeError, ValueError) as error:
        raise ModelFormatError(f"torch {torch.__version__} cannot load it: {_first_line(error)}") from error
    refuse_outside_reach(module._c)
    return module


def save_script(module: torch.jit.ScriptModule, path: Path) -> None:
    """Write a module.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    try:
        write_module(module, str(path))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path.name} cannot be written: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
