"""TorchScript files: opened only when they are what they say, written whole or not at all."""

import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError, first_line
from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.devices import add_parts, rewrite
from bnfold.frontends.torch_archive.operators import reaches_outside
from bnfold.frontends.torch_archive.script_devices import devices_of, on_the_cpu
from bnfold.frontends.torch_archive.scripts import CleanScript, clean_script
from bnfold.frontends.torch_archive.traced_inputs import Recorded, traced_inputs
from bnfold.frontends.torch_archive.zip_reader import opened
from bnfold.frontends.torchscript.ir import ModuleObject, all_nodes, methods_of

# torch.jit is deprecated upstream, and says so on every call. Only these very sentences are silenced.
_SENTENCES = (
    "`torch.jit.load` is deprecated. Please switch to `torch.export`.",
    "`torch.jit.save` is deprecated. Please switch to `torch.export`.",
)
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
        ModelFormatError, UnsupportedModelError: as `open_script`.
    """
    try:
        module = _load(on_the_cpu(script).archive())
    except Exception as error:  # whatever torch raises for a damaged file
        raise ModelFormatError(f"torch {torch.__version__} cannot load it: {first_line(error)}") from error
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


def save_script(module: torch.jit.ScriptModule, path: Path) -> None:
    """Write a module.

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    with _no_disk_errors(path):
        write_module(module, str(path))


def _save_for_phones(module: torch.jit.ScriptModule, path: Path, *, explained: bool) -> None:
    with _no_disk_errors(path):
        module._c._save_for_mobile(str(path), {}, explained)  # without the Python around it, which warns


@contextmanager
def _no_disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path.name} cannot be written: {first_line(error)}") from error


def save_script_like(
    source: Path, module: torch.jit.ScriptModule, path: Path, imports: Iterable[str] = ()
) -> tuple[str, ...]:
    """Write a folded module with all that the file of its original holds beside it.

    Its tensors live where those of the original do, extra files and what a trace was made with are carried over, and a
    file for phones stays one.

    Args:
        source: the file of the original.
        module: on the CPU.
        path: of the new file.
        imports: as for `open_script`.

    Returns:
        Names of parts of the original that the new file does not have.

    Raises:
        UnsupportedModelError: nothing says where a new constant is to live, or the bytecode is for another device.
        UsageError: as `save_script`.
    """
    with opened(source) as entries:
        script = clean_script(entries, imports)
        devices = devices_of(script)
    if devices is not None and script.is_for_phones:
        raise UnsupportedModelError("holds bytecode for phones with tensors on another device than the CPU")
    if script.is_for_phones:
        _save_for_phones(module, path, explained=script.explains_bytecode)
    else:
        save_script(module, path)
    if devices is not None:
        rewrite(path, devices.restored)
    if script.beside:
        add_parts(path, script.beside)
    return script.left_out


def duplicate(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The same module as a file would hold it: classes, parameters and code of its own."""
    buffer = io.BytesIO()
    write_module(module, buffer)
    buffer.seek(0)
    return read_module(buffer)


def refuse_outside_reach(root: ModuleObject) -> None:
    """Raise where any method of any module could touch files or the network.

    Raises:
        UnsupportedModelError: so it is.
    """
    graphs = {".".join(method.member): method.owner._get_method(method.name) for method in methods_of(root)}
    for name, method in graphs.items():
        kind = next((node.kind() for node in all_nodes(method.inlined_graph) if reaches_outside(node.kind())), None)
        if kind is not None:
            raise UnsupportedModelError(f"its method {name!r} calls {kind}, which reaches files or the network")


def inputs_of_trace(path: Path) -> list[Recorded]:
    """What a file says of the inputs that forward was traced with; nothing, where it is no trace."""
    with opened(path) as entries:
        return traced_inputs(entries)


def read_module(source: str | io.BytesIO, device: str | None = None) -> torch.jit.ScriptModule:
    """Load a module.

    Args:
        source: a path or the bytes.
        device: where its tensors go; None for where they were.

    Raises:
        RuntimeError, ValueError: as torch.jit.load.
    """
    load = cast("Callable[..., Any]", torch.jit.load)
    with _deprecations_silenced():
        return cast("torch.jit.ScriptModule", load(source, map_location=device))


def write_module(module: torch.jit.ScriptModule, target: str | io.BytesIO) -> None:
    """Save a module.

    Raises:
        RuntimeError: as torch.jit.save.
    """
    with _deprecations_silenced():
        torch.jit.save(module, target)


@contextmanager
def _deprecations_silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        for sentence in _SENTENCES:
            for category in (DeprecationWarning, FutureWarning):  # of torch up to 2.13, and of newer ones
                warnings.filterwarnings("ignore", f"{re.escape(sentence)}$", category)
        yield
