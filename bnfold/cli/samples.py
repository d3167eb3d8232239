"""Real samples of a model's inputs, out of NumPy's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt


def read_samples(name: str, path: Path) -> "npt.NDArray[Any]":
    """The samples of one input.

    Args:
        name: of the input.
        path: a .npy file, or a .npz file that holds an array of that name or one array only.

    Raises:
        UsageError: there are none in the file.
    """
    import zipfile

    import numpy as np

    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            return stored if isinstance(stored, np.ndarray) else _pick(stored, name, path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"--input {name}={path}: cannot be read as a NumPy file: {why}") from error


def _pick(archive: "Mapping[str, npt.NDArray[Any]]", name: str, path: Path) -> "npt.NDArray[Any]":
    if name in archive:
        return archive[name]
    if len(archive) == 1:
        return next(iter(archive.values()))
    raise UsageError(f"--input {name}={path}: got the arrays {', '.join(archive)}; expected {name} or only one")
