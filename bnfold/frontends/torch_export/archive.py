"""A file of torch.export.save before torch sees it: whether loading or running it could do more than compute.

torch unpickles some parts, evaluates expressions of sizes, and compiles conditions on inputs out of the file. So
pickles are read by torch's restricted reader first, and expressions and conditions must be plain arithmetic.
"""

import ast
import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from bnfold.errors import ModelFormatError, UnsupportedModelError

_PICKLE_ENDINGS = (".pt", ".pkl", ".pickle")
_NOTHING_RUN = "it is not loaded, and nothing in it was executed"

# What sizes are computed with, as torch and sympy spell it.
_FUNCTIONS = frozenset(
    """
    Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatPow FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt
    Identity IntTrueDiv Integer LShift Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Piecewise Pow
    PowByNatural PythonMod RShift Rational RoundDecimal RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat
    TruncToFloat TruncToInt Unequality Where abs ceiling floor int len max min not round
    """.split()  # noqa: SIM905 - a list of strings would take fifty lines
)
_METHODS = frozenset({"dim", "dtype", "item", "ndim", "numel", "shape", "size", "storage_offset", "stride"})
_PLAIN = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Subscript,
    ast.Name,
    ast.Tuple,
    ast.keyword,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.expr_context,
)
_REACHES_OUTSIDE = re.compile(r"\b(save|from_file|rpc_\w+|c10d\w*|_c10d_functional|symm_mem|debugprims)\b")


def check_archive(path: Path) -> None:
    """Refuse a file that could run code of its own.

    Raises:
        ModelFormatError: it is damaged, or not what torch.export.save writes.
        UnsupportedModelError: it holds something that could run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check_entry(archive, entry)
            unpickled = set(_flagged_pickles(archive))
            for entry in archive.infolist():
                if PurePosixPath(entry.filename).name in unpickled or _looks_like_pickle(archive, entry):
                    _check_pickle(entry.filename, archive.read(entry))
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, RecursionError) as error:
        raise ModelFormatError(f"is a damaged file of torch.export.save: {error}") from error


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    name = PurePosixPath(entry.filename)
    if "aotinductor" in name.parts or name.suffix in (".so", ".dll", ".dylib"):
        raise UnsupportedModelError(f"holds compiled code ({entry.filename!r}): {_NOTHING_RUN}")
    if name.suffix == ".json":
        for key, text in _strings(json.loads(archive.read(entry)), ""):
            _check_text(key, text)


def _strings(tree: Any, key: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    """Every string with the key that holds it."""
    waiting = [(key, tree)]
    while waiting:
        key, tree = waiting.pop()
        if isinstance(tree, str):
            yield key, tree
        elif isinstance(tree, dict):
            waiting += tree.items()
        elif isinstance(tree, list):
            waiting += ((key, element) for element in tree)


def _check_text(key: str, text: str) -> None:
    if key in ("expr_str", "guards_code") and not _is_arithmetic(text):
        raise UnsupportedModelError(f"holds an expression that is more than arithmetic ({text[:80]!r}): {_NOTHING_RUN}")
    if key in ("name", "as_name") and re.search(r"[^\w.]", text):
        raise UnsupportedModelError(f"holds the name {text[:80]!r}, which could become code: {_NOTHING_RUN}")
    if key == "target" and _REACHES_OUTSIDE.search(text):
        raise UnsupportedModelError(f"calls {text!r}, which reaches files or the network: {_NOTHING_RUN}")


def _is_arithmetic(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return False
    return all(_is_plain(node) for node in ast.walk(tree))


def _is_plain(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (bool, int, float)) or (
                isinstance(value, str) and re.fullmatch(r"[\w.]*", value) is not None
            )
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Attribute(attr=name):
            return name in _METHODS
    return isinstance(node, _PLAIN) and "__" not in getattr(node, "id", "")


def _flagged_pickles(archive: zipfile.ZipFile) -> Iterator[str]:
    """Names of weights and constants that torch is told to unpickle."""
    for name in archive.namelist():
        if not name.endswith("_config.json"):
            continue
        for entry in json.loads(archive.read(name)).get("config", {}).values():
            if entry.get("use_pickle"):
                yield str(entry.get("path_name"))


def _looks_like_pickle(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Parts whose name says so, and whatever begins like a zip that torch.save writes."""
    if entry.filename.endswith(_PICKLE_ENDINGS):
        return entry.file_size > 0
    with archive.open(entry) as file:
        return file.read(4) == b"PK\x03\x04"


def _check_pickle(name: str, data: bytes) -> None:
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsupportedModelError(f"holds a pickle in {name!r} that could run code: {_NOTHING_RUN}") from error
    except Exception as error:  # no pickle, or a damaged one: then torch.export must not unpickle it either
        raise ModelFormatError(f"holds a part {name!r} that cannot be read, or could run code") from error
