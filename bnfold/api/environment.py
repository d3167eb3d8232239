"""What a result depends on besides the model, for reports: versions, options, opsets, and files by their content."""

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from bnfold.api.options import FoldOptions
from bnfold.report.model import Digest, Environment
from bnfold.version import __version__

_BLOCK = 2**20
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "torch", "onnx_ir")


def environment(
    options: FoldOptions, opsets: Sequence[tuple[str, int]], read: Iterable[Path], written: Iterable[Path]
) -> Environment:
    """The environment of a fold; libraries that were not imported had no part in it, and are left out.

    Args:
        options: of the fold.
        opsets: of the model.
        read: files of the model.
        written: files of the result.

    Raises:
        OSError: a file cannot be read any more.
    """
    found = [(name, getattr(sys.modules.get(name), "__version__", "")) for name in _LIBRARIES]
    return Environment(
        versions=(
            ("bnfold", __version__),
            ("python", platform.python_version()),
            *((name, str(version)) for name, version in found if version),
        ),
        options=tuple(_spelled("", options)),
        opsets=tuple(opsets),
        read=tuple(map(_digest, filter(Path.is_file, read))) if options.digests else (),
        written=tuple(map(_digest, written)) if options.digests else (),
    )


def _digest(path: Path) -> Digest:
    import hashlib  # takes OpenSSL along

    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
        return Digest(path.name, file.tell(), found.hexdigest())


def _spelled(prefix: str, options: object) -> Iterable[tuple[str, str]]:
    """Every option by its name in the API, such as "verify.samples", and its value as a person would write it."""
    assert is_dataclass(options)
    for field in fields(options):
        value, name = getattr(options, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield from _spelled(f"{name}.", value)
        else:
            yield name, _value(value)


def _value(value: object) -> str:
    """Arrays by their form: a report holds no data of anybody's."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"array of shape {tuple(shape)}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_value(entry)}" for name, entry in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
