"""What a file is, told by its content and not by its name. Nothing in it is executed, and torch is not imported."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torchscript.archive import is_torchscript
from bnfold.intake.model_file import check_regular

Kind = Literal["onnx", "torchscript", "torch_export"]

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"  # no ONNX model begins like that: its first byte is the number of a protobuf field
_NOTHING_RUN = "nothing in it was executed"
_EXPORT_IT = "write a program instead, with torch.export.save or torch.jit.save"


def kind_of(path: Path) -> Kind:
    """Tell the format of a file; what is neither a zip nor a pickle is taken for ONNX, whose reader says more.

    Raises:
        ModelFormatError: it cannot be read, is a damaged zip, or a pickle.
        UnsupportedModelError: it is a zip of another kind.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(4)
        if start[:1] == _PICKLE_MAGIC:
            raise ModelFormatError(
                f"is a Python pickle, as old versions of torch.save wrote it: {_EXPORT_IT}; {_NOTHING_RUN}"
            )
        if start != _ZIP_MAGIC:
            return "onnx"
        with zipfile.ZipFile(path) as archive:
            return _kind_of_zip(archive)
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelFormatError(f"is a damaged zip archive: {error}") from error


def _kind_of_zip(archive: zipfile.ZipFile) -> Kind:
    names = archive.namelist()
    if min((entry.header_offset for entry in archive.infolist()), default=0):
        # Of a file that was cut off, the directory of an archive inside it may be left.
        raise ModelFormatError("is a damaged zip archive: its end is missing")
    if is_torchscript(names):
        return "torchscript"
    if is_torch_export(names):
        return "torch_export"
    if any(PurePosixPath(name).name == "archive_format" for name in names):
        raise UnsupportedModelError("is a PT2 archive without an exported program: a compiled one cannot be folded")
    if any(PurePosixPath(name).name == "data.pkl" for name in names):
        raise ModelFormatError(
            f"is a pickle of torch.save (a state dict or a whole module), not a program: {_EXPORT_IT}; {_NOTHING_RUN}"
        )
    raise UnsupportedModelError("is a zip archive, but neither TorchScript nor torch.export")


def is_torch_export(names: list[str]) -> bool:
    """Whether a zip with these entries was written by torch.export.save, of torch 2.4 to 2.7 or of 2.8 and newer."""
    parts = [PurePosixPath(name).parts for name in names]
    archive = any(part[1:] == ("archive_format",) for part in parts)
    model = any(len(part) == 3 and part[1] == "models" and part[2].endswith(".json") for part in parts)
    return (archive and model) or "serialized_exported_program.json" in names
