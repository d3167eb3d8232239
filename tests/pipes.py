"""A pipe with a name that a test reads while something else writes to it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def read_pipe(path: Path) -> Iterator[list[bytes]]:
    """Make a pipe and read all that is written to it; the list has the content after the block.

    The thread ends with the process: where the block fails, nobody may ever have opened the pipe.
    """
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    reader.start()
    yield read
    reader.join(60)
