"""Standard output as a file that is asked for."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bnfold.errors import UsageError
from bnfold.writing.destination import Destination, destination_of


def check_standard_output(models: Sequence[Path]) -> None:
    """Raise UsageError where standard output cannot take the result of these models."""
    if len(models) > 1:
        raise UsageError(f"-o -: standard output takes one model, got {len(models)}")
    if sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("-o -: standard output is a terminal, which shows no models: send it to a file or a program")


def takes_standard_output(paths: Iterable[Path]) -> bool:
    """Whether one of these files is where this process prints to, by whatever name."""
    return any(map(_is_standard_output, paths))


def _is_standard_output(path: Path) -> bool:
    try:
        destination = destination_of(path)
    except UsageError:  # whoever writes there says it
        return False
    return destination.descriptor == 1 or (destination.is_stream and _prints_to(destination))


def _prints_to(stream: Destination) -> bool:
    """Whether a device or a pipe is standard output; what /dev/null is given cannot mix."""
    try:
        status = stream.path.stat()
        return os.path.samestat(status, os.fstat(1)) and not os.path.samestat(status, os.stat(os.devnull))
    except OSError:
        return False
