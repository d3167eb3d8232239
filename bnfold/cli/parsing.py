"""Values of options: from the text that was typed to what it means. Every error says what was expected."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import click

from bnfold.errors import UsageError
from bnfold.processors import allowed
from bnfold.writing.destination import STDOUT, destination_of

T = TypeVar("T")

_ARRAY_ENDINGS = (".npy", ".npz")
_REPORT_ENDINGS = (".json", ".html", ".sarif")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmg]?)(i?b?)", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=1,3,224,224: an input and its full shape."""
    name, value = _split(text, "NAME=1,3,224,224")
    sizes = value.split(",")
    if not all(map(_is_size, sizes)):
        raise click.BadParameter(f"got {text!r}, expected whole numbers from 1 on such as {name}=1,3,224,224")
    return name, tuple(map(int, sizes))


def parse_dimension(text: str) -> tuple[str, int]:
    """NAME=4: a symbolic dimension and its size."""
    name, value = _split(text, "NAME=4")
    if not _is_size(value):
        raise click.BadParameter(f"got {text!r}, expected one whole number from 1 on such as {name}=4")
    return name, int(value)


def parse_count(text: str) -> int:
    """A whole number from 1 on."""
    if not _is_size(text):
        raise click.BadParameter(f"got {text!r}, expected a whole number from 1 on")
    return int(text)


def parse_index(text: str) -> int:
    """A whole number from 0 on."""
    if text != "0" and not _is_size(text):
        raise click.BadParameter(f"got {text!r}, expected a whole number from 0 on")
    return int(text)


def parse_jobs(text: str) -> int:
    """How many at a time: a number, or auto for the processors that this process may use."""
    if text == "auto":
        return allowed()
    if not _is_size(text):
        raise click.BadParameter(f"got {text!r}, expected a whole number from 1 on, or auto")
    return int(text)


def parse_input(text: str) -> tuple[str, Path]:
    """NAME=FILE: an input and a file with samples of it."""
    name, value = _split(text, "NAME=FILE")
    path = Path(value)
    if path.suffix.lower() not in _ARRAY_ENDINGS:
        raise click.BadParameter(f"got {text!r}, expected a file that ends in {' or '.join(_ARRAY_ENDINGS)}")
    return name, path


def parse_report(text: str) -> Path:
    """FILE.json, FILE.html or FILE.sarif; standard output and other streams, which have no ending, take JSON."""
    if text == "-":
        return STDOUT
    path = Path(text)
    if path.suffix.lower() not in _REPORT_ENDINGS and not _is_stream(path):
        raise click.BadParameter(
            f"got {text!r}, expected a file that ends in {', '.join(_REPORT_ENDINGS[:-1])} or {_REPORT_ENDINGS[-1]}"
        )
    return path


def _is_stream(path: Path) -> bool:
    try:
        return destination_of(path).is_stream
    except UsageError:
        return False


def parse_output(text: str) -> str:
    """A path as it was typed; an empty one is a variable that somebody forgot to set, not the current folder."""
    if not text:
        raise click.BadParameter("got an empty name, expected a file or a folder")
    return str(STDOUT) if text == "-" else text


def parse_tolerance(text: str) -> float:
    """A finite number from 0 on."""
    value = _number(text)
    if not value >= 0:
        raise click.BadParameter(f"got {text!r}, expected a finite number from 0 on such as 1e-4")
    return value


def parse_seconds(text: str) -> float:
    """A finite number of seconds from 0 on."""
    value = _number(text)
    if not value >= 0:
        raise click.BadParameter(f"got {text!r}, expected seconds from 0 on such as 2.5")
    return value


def parse_time_limit(text: str) -> float:
    """A finite number of seconds above 0."""
    value = _number(text)
    if not value > 0:
        raise click.BadParameter(f"got {text!r}, expected seconds above 0 such as 60")
    return value


def parse_size(text: str) -> int:
    """Bytes: 2G and 2GiB are 2 * 1024**3, 2GB is 2 * 1000**3, as for dd and other tools; a number alone is bytes."""
    found = _SIZE.fullmatch(text)
    prefix, ending = (found[2].lower(), found[3].lower()) if found else ("", "")
    if not found or (not prefix and ending.startswith("i")) or ending == "i":
        raise click.BadParameter(f"got {text!r}, expected a size such as 512MiB, 2G or 2GB")
    size = int(float(found[1]) * (1000 if ending == "b" else 1024) ** _POWERS[prefix])
    if size < 1:
        raise click.BadParameter(f"got {text!r}, expected a size from 1 byte on such as 512MiB, 2G or 2GB")
    return size


def by_name(_context: click.Context, _option: click.Parameter, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The values of a repeatable option by their names, each given once; a callback of click."""
    values: dict[str, T] = {}
    for name, value in pairs:
        if name in values:
            raise click.BadParameter(f"{name!r} is given twice")
        values[name] = value
    return values


def _split(text: str, expected: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise click.BadParameter(f"got {text!r}, expected {expected}")
    return name, value


def _number(text: str) -> float:
    """A finite number; NaN of whatever is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
