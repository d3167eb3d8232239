"""What people type where a model is expected: told apart before any work starts, with what they may have meant."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from bnfold.errors import ModelFormatError, UsageError

_MEANT = {
    "explain": ("bnfold explain", "CODE"),
    "verify": ("bnfold verify", "A B"),
    "compare": ("bnfold verify", "A B"),
    "diff": ("bnfold verify", "A B"),
    "fold": ("bnfold", "MODEL"),
    "run": ("bnfold", "MODEL"),
    "help": ("bnfold --help", ""),
    "version": ("bnfold --version", ""),
}
"""Commands and words that other tools have as commands: how it is called, and with what where nothing else is typed."""
_ENDINGS = (".onnx", ".pt2", ".pt", ".pth", ".ts")
_STANDARD_INPUT = "-"
_NEARLY_THE_SAME = 0.8
"""How like an option what was typed must be: --dryrun is, while --overwrite and --skip-verify mean something else."""


def check_models(models: Sequence[Path]) -> None:
    """Refuse a call whose list of models is a mistake.

    Args:
        models: as they were typed, at least one.

    Raises:
        UsageError: the first is a mistyped command, one is standard input, or one is there twice.
    """
    word = str(models[0])
    near = get_close_matches(word.lower(), _MEANT, n=1, cutoff=0.7) if word.isalpha() else []
    if near and not models[0].exists():
        command, alone = _MEANT[near[0]]
        rest = " ".join(map(str, models[1:])) if alone else ""
        raise UsageError(
            f"{word} is no file and no command: did you mean {' '.join(filter(None, (command, rest or alone)))}?"
        )
    for index, model in enumerate(models):
        if str(model) == _STANDARD_INPUT:
            raise UsageError("- is standard input, which is not read: give the path of a file (./- if it is called so)")
        if model in models[:index]:
            raise UsageError(f"{model} is given twice: leave one out")


def check_is_file(path: Path) -> None:
    """Refuse a path that leads to no file, and say which one may be meant.

    Raises:
        ModelFormatError: nothing is there, or a folder. The message goes on behind the path.
    """
    try:
        if path.is_dir():
            raise ModelFormatError(_of_folder(path))
        if not path.exists() and not path.is_symlink():
            raise ModelFormatError(f"does not exist{_near(path)}")
    except OSError:  # whoever reads it says why
        return


def _of_folder(folder: Path) -> str:
    if (folder / "saved_model.pb").is_file():
        return "is a SavedModel of TensorFlow: convert it to ONNX first, as tf2onnx does"
    models = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not models:
        return "is a folder without models: give the path of a file"
    if len(models) == 1:
        return f"is a folder: give its model, {models[0]}"
    patterns = sorted({f"{folder}/*{path.suffix}" for path in models})
    return f"is a folder: give its {len(models)} models, {' '.join(patterns)}"


def _near(path: Path) -> str:
    """Which file of the same folder may be meant; that of another folder or ending is no guess."""
    folder = path.parent
    if not folder.is_dir():
        return f", and neither does the folder {folder}"
    models = {each.stem: each for each in sorted(folder.iterdir()) if each.suffix.lower() in _ENDINGS}
    near = get_close_matches(path.stem, models, n=1)
    return f": did you mean {models[near[0]]}?" if near else ""


def told_shorter(error: click.ClickException) -> str:
    """What is wrong with a command line, as click says it; and the option that may be meant."""
    if isinstance(error, click.NoSuchOption):
        near = get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=_NEARLY_THE_SAME)
        return f"there is no option {error.option_name}{f': did you mean {near[0]}?' if near else ''}"
    return error.format_message().rstrip(".")
