"""Where results go, settled before any work starts: no call writes over a model that it was not told to."""

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bnfold.cli.streams import check_standard_output
from bnfold.errors import UsageError
from bnfold.writing.destination import STDOUT
from bnfold.writing.locations import data_files_of

_SEPARATORS = ("/", os.sep)
_ENDINGS = (".onnx", ".pt", ".pth", ".pt2", ".ts")


@dataclass(frozen=True)
class Job:
    """One model to fold.

    Attributes:
        source: path of the model as it was given.
        target: path of the file to write, or None to write none.
        in_place: whether the two are the same file.
    """

    source: Path
    target: Path | None
    in_place: bool = False


def plan_jobs(models: Sequence[Path], output: str | None, *, in_place: bool, suffix: str = "") -> list[Job]:
    """Pair every model with the file to write.

    Args:
        models: paths, at least one.
        output: a file for one model; a folder for several, or where it is one already or ends in a slash; None for
            a file beside each model.
        in_place: whether a model may be written over. Without an output, each one is.
        suffix: of the files to write where they are of another format than the models: ".onnx".

    Raises:
        UsageError: a folder is missing, a model would be written over, or two models would share a file.
    """
    inputs = {identity(model) for model in models}
    data = {identity(path): model for model in models for path in data_files_of(model)}
    written: dict[Hashable, Path] = {}
    jobs = []
    for source, target in zip(models, _targets(models, output, in_place, suffix), strict=True):
        key = identity(target)
        own = key == identity(source)
        if key in written:
            raise UsageError(f"{written[key]} and {source} would both be written to {target}: use two calls")
        if own and not in_place:
            raise UsageError(f"{target} is the model itself: choose another output, or give --in-place")
        if not own and key in inputs:
            raise UsageError(f"{target} is a model of this call, the result of {source} would overwrite it")
        if key in data:
            raise UsageError(f"{target} holds data of {data[key]}, the result of {source} would overwrite it")
        written[key] = source
        # A link to the model stays a link: the file behind it is the one to replace.
        jobs.append(Job(source, Path(os.path.realpath(source)) if own else target, own))
    return jobs


def _targets(models: Sequence[Path], output: str | None, in_place: bool, suffix: str) -> list[Path]:
    if output is None:
        return list(models) if in_place else [folded_beside(model, suffix) for model in models]
    place = Path(output)
    if place == STDOUT:
        check_standard_output(models)
        return [place]
    if not place.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {place.parent}: create it first")
    folder = output_folder(models, output)
    if folder is None:
        return [place]
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {output}: got a file, expected a folder for {len(models)} models")
    if not folder.exists() and not output.endswith(_SEPARATORS) and _is_called_like_a_model(folder, models):
        raise UsageError(
            f"-o {output}: got the name of a file, expected a folder for {len(models)} models "
            f"({output}/ if it is to be called so)"
        )
    return [folder / folded_beside(model, suffix).name for model in models]


def _is_called_like_a_model(folder: Path, models: Iterable[Path]) -> bool:
    return bool(folder.suffix) and folder.suffix.lower() in {*_ENDINGS, *(model.suffix.lower() for model in models)}


def output_folder(models: Sequence[Path], output: str | None) -> Path | None:
    """The folder that holds the results, to be made if need be; None where each has a place of its own."""
    if output is None:
        return None
    is_folder = len(models) > 1 or Path(output).is_dir() or output.endswith(_SEPARATORS)
    return Path(output) if is_folder else None


def folded_beside(model: Path, suffix: str = "") -> Path:
    """model.onnx -> model.folded.onnx, in the same folder; with another suffix, model.pt2 -> model.folded.onnx."""
    return model.parent / f"{model.stem}.folded{suffix or model.suffix}"


def check_reports(reports: Sequence[Path], jobs: Sequence[Job]) -> None:
    """Raise UsageError where a report would be written over a model, its data, a result or another report."""
    taken: dict[Hashable, str] = {}
    for job in jobs:
        if job.target is not None:
            taken[identity(job.target)] = "the output"
            taken |= dict.fromkeys(map(identity, data_files_of(job.target)), "data of the output")
        taken |= dict.fromkeys(map(identity, data_files_of(job.source)), "data of a model of this call")
        taken[identity(job.source)] = "a model of this call"
    for report in reports:
        if report != STDOUT and not report.parent.is_dir():
            raise UsageError(f"--report {report}: there is no folder {report.parent}: create it first")
        if report.is_dir():
            raise UsageError(f"--report {report}: got a folder, expected a file")
        key = identity(report)
        if key in taken and not report.is_char_device():
            raise UsageError(f"--report {report}: this is {taken[key]}: choose another file")
        taken[key] = "another report"


def identity(path: Path) -> Hashable:
    """Equal for all paths to one file, over symbolic and hard links, and to one place where no file is yet."""
    try:
        status = path.stat()
    except OSError:
        return os.path.normcase(os.path.realpath(path))
    return status.st_dev, status.st_ino


@contextmanager
def existing(folder: Path | None) -> Iterator[None]:
    """The folder is there inside, and goes again afterwards if it was made for nothing.

    Raises:
        UsageError: it cannot be made.
    """
    made = folder is not None and not folder.exists()
    if folder is not None and made:
        try:
            folder.mkdir()
        except OSError as error:
            raise UsageError(f"{folder}: the folder cannot be made: {error.strerror or error}") from error
    try:
        yield
    finally:
        if folder is not None and made:
            with suppress(OSError):  # it holds results, and so it stays
                folder.rmdir()
