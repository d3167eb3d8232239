"""Files that must stay as they are while work on them goes on: their weights are mapped, and read more than once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from bnfold.errors import ModelFormatError
from bnfold.writing.locations import data_files_of

_State: TypeAlias = tuple[int, ...] | None


@contextmanager
def unchanged(model: Path) -> Iterator[None]:
    """Do work on a model; what it gives or raises says nothing where the model or its data was changed meanwhile.

    Raises:
        ModelFormatError: it was: written to, replaced or removed.
        Exception: whatever the work raises.
    """
    before = {path: _state(path) for path in (model, *sorted(data_files_of(model)))}
    try:
        yield
    except Exception as error:
        _require(before, error)
        raise
    _require(before)


def _require(before: dict[Path, _State], error: Exception | None = None) -> None:
    changed = next((path for path, state in before.items() if _state(path) != state), None)
    if changed is not None:
        what = f"was changed while it was read ({changed.name}), and nothing is written"
        raise ModelFormatError(f"{what}: try again when nobody writes to it") from error


def _state(path: Path) -> _State:
    """What differs once a file is written to, or another one is in its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
