"""Names for data files beside a model. A file that is there is never written to: the old model may still need it."""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 2**18  # bytes, which stay in the cache
_DIGITS = 16


def name_for_data(model: Path, staged: Path) -> str:
    """A name beside a model that is free, or whose file holds the same already.

    It is told by the content and by what is there: NAME.data, and where that holds something else, NAME.DIGEST.data.

    Args:
        model: the destination of the model.
        staged: the data, written whole.
    """
    plain = f"{_start(model)}.data"
    if not any(name == plain or is_fresh_name(model, name) for name in os.listdir(model.parent)):
        return plain  # nothing there could hold the same, so there is no need to know what it holds
    if holds_the_same(model.parent / plain, staged):
        return plain
    digested = _digested(_start(model), _digest(staged))
    first = next(digested)
    if holds_the_same(model.parent / first, staged):
        return first
    return next(name for name in itertools.chain((plain, first), digested) if not os.path.lexists(model.parent / name))


def holds_the_same(path: Path, other: Path) -> bool:
    """Whether two files are equal byte for byte; False where one of them cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size != other.stat().st_size:
            return False
        with path.open("rb") as ours, other.open("rb") as theirs:
            return all(chunk == theirs.read(_CHUNK) for chunk in iter(lambda: ours.read(_CHUNK), b""))
    except OSError:
        return False


def is_named_after(model: Path, data: Path) -> bool:
    """Whether a data file bears a name that is made for this model: NAME.data or NAME.DIGEST.data."""
    return data.parent == model.parent and (data.name == f"{_start(model)}.data" or is_fresh_name(model, data.name))


def is_fresh_name(model: Path, name: str) -> bool:
    """Whether a name beside a model is NAME.DIGEST.data, which nobody but bnfold writes."""
    return bool(re.fullmatch(rf"{re.escape(_start(model))}\.[0-9a-f]{{{_DIGITS}}}(-\d+)?\.data", name))


def _start(model: Path) -> str:
    """The name of the model, as an ONNX file can hold it: bytes that are no UTF-8 are replaced."""
    return os.fsencode(model.name).decode("utf-8", errors="replace")


def _digested(model: str, digest: str) -> Iterator[str]:
    yield f"{model}.{digest}.data"
    for number in itertools.count(2):
        yield f"{model}.{digest}-{number}.data"


def _digest(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:_DIGITS]
