"""What a file is, told by its content and not by its name. Nothing in it is executed, and torch is not imported."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.layout import is_torch_export, is_torchscript
from bnfold.frontends.torch_archive.zip_reader import opened
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
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    with opened(path) as entries:
        return _kind_of_zip(entries)


def _kind_of_zip(names: Iterable[str]) -> Kind:
    if is_torchscript(names):
        return "torchscript"
    if is_torch_export(names):
        return "torch_export"
    if any(name.rpartition("/")[2] == "archive_format" for name in names):
        raise UnsupportedModelError("is a PT2 archive without an exported program: a compiled one cannot be folded")
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise ModelFormatError(
            f"is a pickle of torch.save (a state dict or a whole module), not a program: {_EXPORT_IT}; {_NOTHING_RUN}"
        )
    raise UnsupportedModelError("is a zip archive, but neither TorchScript nor torch.export")
