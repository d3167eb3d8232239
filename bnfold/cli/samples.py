"""Real samples of a model's inputs, out of NumPy's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.cli.request import CheckRequest
from bnfold.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from bnfold.verification import VerifyOptions


def verify_options(check: CheckRequest) -> "VerifyOptions":
    """What the check is asked, with the samples out of their files.

    Raises:
        UsageError: a file holds none, or they are empty or not finite.
    """
    from bnfold.verification import VerifyOptions

    return VerifyOptions(
        samples=check.samples,
        seed=check.seed,
        rtol=check.rtol,
        atol=check.atol,
        shapes=check.shapes,
        dims=check.dims,
        inputs={name: read_samples(name, path) for name, path in check.inputs.items()},
        probe=check.probe,
        same_names=check.same_names,
        provider=check.provider,
        memory=check.memory,
        custom_ops=check.custom_ops,
    )


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
