"""Which formats there are, and which one a file or an object is of. One row per format.

A file is told by its content and not by its name. Nothing in it is executed, and a format's library is imported only
when a model of it is opened: torch takes seconds.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bnfold.api.formats.protocol import Format
from bnfold.errors import ModelFormatError, NotInstalledError, UnsupportedModelError, UsageError
from bnfold.intake.model_file import check_regular
from bnfold.intake.other_files import what_else_a_zip_is
from bnfold.report.model import FormatName

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"  # no ONNX model begins like that: its first byte is the number of a protobuf field
_READ_OF_PICKLES = 2**20
_EXPECTED = "a path, an onnx.ModelProto, an onnx_ir.Model, a torch.jit.ScriptModule or a torch.export.ExportedProgram"


@dataclass(frozen=True)
class FormatRow:
    """What is known of a format before a model of it is opened.

    Attributes:
        name: in reports and options.
        called: in sentences.
        endings: of its files, the usual one first.
        classes: of its models in memory, as module and name; whoever holds one has imported the module.
        format: imports what opens it.
        is_in_zip: whether a zip with entries of these names is such a file.
        runs_code: whether a library runs code of the file when it is opened.
    """

    name: FormatName
    called: str
    endings: tuple[str, ...]
    classes: tuple[tuple[str, str], ...]
    format: Callable[[], Format]
    is_in_zip: Callable[[Iterable[str]], bool] = lambda _names: False
    runs_code: bool = False


def _onnx() -> Format:
    from bnfold.api.formats.onnx import OnnxFormat

    return OnnxFormat()


def _torchscript() -> Format:
    _require_torch()
    from bnfold.api.formats.torchscript import ScriptFormat

    return ScriptFormat()


def _torch_export() -> Format:
    _require_torch()
    from bnfold.api.formats.torch_export import ExportFormat

    return ExportFormat()


def _is_torchscript(names: Iterable[str]) -> bool:
    from bnfold.frontends.torch_archive.layout import is_torchscript

    return is_torchscript(names)


def _is_torch_export(names: Iterable[str]) -> bool:
    from bnfold.frontends.torch_archive.layout import is_torch_export

    return is_torch_export(names)


ONNX = FormatRow("onnx", "ONNX", (".onnx",), (("onnx", "ModelProto"),), _onnx)
FORMATS = (
    ONNX,
    FormatRow(
        "torchscript",
        "TorchScript",
        (".pt", ".pth", ".ts"),
        (("torch.jit", "ScriptModule"),),
        _torchscript,
        _is_torchscript,
        runs_code=True,
    ),
    FormatRow(
        "torch_export",
        "a program of torch.export",
        (".pt2",),
        (("torch.export", "ExportedProgram"),),
        _torch_export,
        _is_torch_export,
    ),
)


def format_of_file(path: Path) -> FormatRow:
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
                from bnfold.frontends.torch_archive.checkpoints import refusal_of_pickle

                raise refusal_of_pickle(start + file.read(_READ_OF_PICKLES))
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    return ONNX if start != _ZIP_MAGIC else _format_of_zip(path)


def _format_of_zip(path: Path) -> FormatRow:
    from bnfold.frontends.torch_archive.checkpoints import refusal_of_archive
    from bnfold.frontends.torch_archive.zip_reader import opened

    with opened(path) as entries:
        names = list(entries)
        found = next((row for row in FORMATS if row.is_in_zip(names)), None)
        if found is not None:
            return found
        refusal = refusal_of_archive(entries)
    if any(name.rpartition("/")[2] == "archive_format" for name in names):
        raise UnsupportedModelError("is a PT2 archive without an exported program: a compiled one cannot be folded")
    if refusal is not None:
        raise refusal
    raise UnsupportedModelError(what_else_a_zip_is(names))


def format_of_object(model: object) -> FormatRow:
    """Tell the format of a model in memory.

    Raises:
        UsageError: it is none that bnfold folds.
    """
    for row in FORMATS:
        if any(_is_instance(model, *known) for known in row.classes):
            return row
    if _is_instance(model, "torch.nn", "Module"):
        raise UsageError(
            f"got {type(model).__name__}, a module: export it first, with torch.export.export(model.eval(), inputs) "
            "or torch.jit.script(model.eval())"
        )
    raise UsageError(f"got {type(model).__name__}, expected {_EXPECTED}")


def is_onnx_ir(model: object) -> bool:
    """Whether it is a model of onnx_ir, which is folded and written as a protobuf."""
    return _is_instance(model, "onnx_ir", "Model")


def _is_instance(model: object, module: str, name: str) -> bool:
    """Whether an object is of a class; if so, the class's module is imported already."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(model, kind)


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise NotInstalledError(
            "is a program of PyTorch, which is not installed: pip install 'torch>=2.13', or "
            "pip install '.[torch]' in a checkout of bnfold"
        ) from error
