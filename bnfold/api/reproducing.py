"""A bundle that shows a mismatch without bnfold: what is put into it, and how it comes to its place.

The models and values are made by the process that read the model, which the model may have taken over. The script,
which somebody will run, is not: it is the same for every model, and written here.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bnfold.api.options import FoldOptions
from bnfold.errors import UncheckedError, UsageError

FOLDER = "reproduction"
SCRIPT = "show.py"
ONLY_ONNX = "parts of a program of PyTorch cannot be run without it: compare the two programs in torch"
_FILES = ("original.onnx", "new.onnx", "inputs.npz", "outputs.npz")
_SHOW = '''"""Runs both models on the same inputs, with onnxruntime alone, and prints how far their outputs differ."""
from pathlib import Path
import numpy as np
import onnxruntime as ort

here, options = Path(__file__).parent, ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # else it folds BatchNorms itself
inputs = list(np.load(here / "inputs.npz").values())
sessions = [ort.InferenceSession(here / name, options) for name in ("original.onnx", "new.onnx")]
made = [session.run(None, dict(zip([x.name for x in session.get_inputs()], inputs))) for session in sessions]
for output, before, after in zip(sessions[0].get_outputs(), *made):
    print(f"{output.name}: shape {before.shape} in the original, {after.shape} in the new model")
    error = np.abs(before.astype(float) - after.astype(float))
    place = tuple(int(index) for index in np.unravel_index(error.argmax(), error.shape))
    print(f"largest difference {error[place]:.3g}, at {place}: {before[place]:.9g} became {after[place]:.9g}")
'''


def check_place(options: FoldOptions) -> None:
    """Refuse a place for a bundle that holds anything, before any work is done.

    Raises:
        UsageError: it is a file, or a folder that is not empty.
    """
    place = options.save_repro
    if place is None:
        return
    folder = Path(place)
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            return
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}") from error
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{place} is there already and not an empty folder: name another one for what differs")


@contextmanager
def reproduction_kept(options: FoldOptions, scratch: Path) -> Iterator[None]:
    """Move what the work inside put into the scratch folder to the place that was asked for, however the work ends.

    Args:
        options: of the fold.
        scratch: where the work may write.

    Raises:
        UsageError: the place does not take it.
    """
    check_place(options)
    try:
        yield
    finally:
        made = scratch / FOLDER
        if options.save_repro is not None and made.is_dir():
            _publish(made, Path(options.save_repro))


@contextmanager
def reproduction_of_memory(options: FoldOptions) -> Iterator[Path | None]:
    """A scratch folder for the fold of a model in memory; None where no bundle was asked for."""
    if options.save_repro is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bnfold-") as folder:
        scratch = Path(folder)
        with reproduction_kept(options, scratch):
            yield scratch


def reproduced(options: FoldOptions, scratch: Path, write: Callable[[Path], str]) -> str:
    """Put a bundle into the scratch folder.

    Args:
        options: of the fold.
        scratch: where the work may write.
        write: writes into a folder, and says what weakens it.

    Returns:
        Where it will be, and what to do with it; or why there is none.
    """
    folder = scratch / FOLDER
    folder.mkdir()
    try:
        weakness = write(folder)
    except UncheckedError as error:
        return f"nothing was saved that shows the difference: {error}"
    told = f"what differs is in {options.save_repro}, and needs no bnfold: python {options.save_repro}/{SCRIPT}"
    return f"{told} ({weakness})" if weakness else told


def _publish(made: Path, place: Path) -> None:
    """Only plain files of known names are taken."""
    found = [made / name for name in _FILES if (made / name).is_file() and not (made / name).is_symlink()]
    if not found:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in found:
            shutil.copyfile(path, place / path.name)
        (place / SCRIPT).write_text(_SHOW, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror or error}") from error
