"""What a guarded process may use, and how it is held to that."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READING, FOLDING, WRITING, TIMING = "reading", "folding", "writing", "timing"
"""Steps that are no comparison. The pipeline calls them so, and they have limits of their own."""

_GIB = 2**30
_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What the fold of one file may use.

    Attributes:
        seconds: of processor time for one step (reading, planning, one run of the model); None for what suits the size
            of the file.
        memory: in bytes, beyond what the process has when it starts; None for what suits the size of the file.
    """

    seconds: float | None = None
    memory: int | None = None

    def seconds_for(self, step: str, size: int) -> float:
        """Processor time for a step on a file of this many bytes."""
        if self.seconds is not None:
            return self.seconds
        return 30 + size / _MIB if step == READING else 60 + 4 * size / _MIB

    def memory_for(self, step: str, size: int) -> int:
        """Bytes for a step on a file of this many bytes."""
        if self.memory is not None:
            return self.memory
        if step == READING:
            return _GIB + 4 * size
        return 4 * _GIB + 6 * size if step in (FOLDING, WRITING) else 8 * _GIB + 8 * size


# Descriptors: a model with its data files and what the libraries open is far below.
_OPEN_FILES = 512


def limit_process() -> None:
    """Limit the open files of this process, and forbid core dumps, for good; nothing where the system cannot."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_memory(most: int | None) -> None:
    """Let the private memory of this process grow to so many bytes, or as far as it may at all."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        unlimited = resource.RLIM_INFINITY
        allowed = hard if most is None or (hard != unlimited and most > hard) else most
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def private_memory() -> int | None:
    """Bytes of memory that this process alone can write to; None where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None


def processor_seconds(pid: int) -> float | None:
    """Processor time that another process has used so far, in all its threads; None where the system does not say."""
    try:
        # The name of the program, in parentheses, may hold spaces: the numbers begin behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
