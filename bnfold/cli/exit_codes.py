"""What the command answers: its exit status, and the line that goes with an error."""

import errno
from collections.abc import Iterable
from enum import IntEnum

from bnfold.errors import (
    BnfoldError,
    ModelFormatError,
    UncheckedError,
    UnexpectedError,
    UsageError,
    VerificationError,
)


class ExitCode(IntEnum):
    """The status of a call."""

    DONE = 0
    VERIFICATION_FAILED = 1
    USAGE = 2
    UNREADABLE = 3
    KEPT = 4
    UNCHECKED = 5
    BUG = 70
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


_BEST_FIRST = (
    ExitCode.DONE,
    ExitCode.KEPT,
    ExitCode.UNCHECKED,
    ExitCode.VERIFICATION_FAILED,
    ExitCode.USAGE,
    ExitCode.UNREADABLE,
    ExitCode.BUG,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code of a call out of those of its models: 70, 3, 2, 1, 5, 4, 0, whichever of them comes first.

    A BatchNorm that stays is a result, and every error outweighs it. That two models differ is known, and outweighs
    what is not known.
    """
    return max(codes, key=_BEST_FIRST.index, default=ExitCode.DONE)


def code_of(error: Exception) -> ExitCode:
    """The code of a model whose fold ended in this error.

    Of the errors that come from the system as they are, those of a disk without room and of a name that is too long are
    about the output.
    """
    match error:
        case ModelFormatError():
            return ExitCode.UNREADABLE
        case UncheckedError():
            return ExitCode.UNCHECKED
        case VerificationError():
            return ExitCode.VERIFICATION_FAILED
        case UsageError() | OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG | errno.EROFS | errno.ENAMETOOLONG):
            return ExitCode.USAGE
        case BnfoldError() | OSError():
            return ExitCode.UNREADABLE
        case _:
            return ExitCode.BUG


def message_of(error: Exception) -> str:
    """What to tell of an error."""
    match error:
        case OSError():
            return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        case BnfoldError() | UnexpectedError():
            return str(error)
        case _:
            return str(UnexpectedError.of(error))
