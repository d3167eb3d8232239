"""Files of torch.export.save: opened without running anything in them, written whole or not at all."""

import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import torch
from torch.export import ExportedProgram

from bnfold.errors import ModelFormatError, UsageError, first_line
from bnfold.frontends.torch_archive.devices import add_parts, rewrite
from bnfold.frontends.torch_archive.exported import CleanProgram, clean_program
from bnfold.frontends.torch_archive.program_devices import devices_of, on_the_cpu
from bnfold.frontends.torch_archive.zip_reader import opened


def open_program(path: Path, imports: Iterable[str] = ()) -> ExportedProgram:
    """Open a .pt2 file. torch is given a copy of its checked parts, never the file.

    Args:
        path: of the file.
        imports: packages that the user named, whose operators and classes it may use.

    Raises:
        ModelFormatError: it cannot be read, or torch cannot load it.
        UnsupportedModelError: a part of it could run code.
    """
    with opened(path) as entries:
        return load_program(clean_program(entries, imports))


def load_program(program: CleanProgram) -> ExportedProgram:
    """The program out of checked parts.

    Raises:
        ModelFormatError: torch cannot load it.
    """
    on_the_cpu(program)
    try:
        with _quiet():
            return torch.export.load(cast("IO[bytes]", program.archive()))
    except Exception as error:  # whatever torch raises for a damaged file
        raise ModelFormatError(f"torch {torch.__version__} cannot load it: {first_line(error)}") from error


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a program. The same program gives the same bytes, whatever the name of the file.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    # Into memory first: the name of a file would become the name of the folder in the archive.
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer)
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UsageError(f"{path.name} cannot be written: {error.strerror or error}") from error


def save_program_like(
    source: Path, program: ExportedProgram, path: Path, imports: Iterable[str] = ()
) -> tuple[str, ...]:
    """Write a folded program with all that the file of its original holds beside it.

    Its tensors live where those of the original do, and extra files are carried over.

    Args:
        source: the file of the original.
        program: on the CPU.
        path: of the new file.
        imports: as for `open_program`.

    Returns:
        Names of parts of the original that the new file does not have.

    Raises:
        UsageError: as `save_program`.
    """
    with opened(source) as entries:
        clean = clean_program(entries, imports)
    devices = devices_of(clean)
    save_program(program, path)
    if devices is not None:
        rewrite(path, devices.restored)
    if clean.beside:
        add_parts(path, clean.beside)
    return clean.left_out


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading and saving warn of the inner workings of torch, which say nothing about the model."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch(\.|$)|copyreg")
            yield
    finally:
        logger.setLevel(level)
