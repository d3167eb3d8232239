"""Exceptions. A refusal to fold is not one of them: see bnfold.refusal."""


class BnfoldError(Exception):
    """Base of everything that bnfold raises on purpose. Its message is one line that says how to go on."""


class UsageError(BnfoldError):
    """The options contradict each other, the model or the file system (exit code 2)."""


class NotInstalledError(UsageError):
    """The package that opens this kind of model is not there."""


class ModelFormatError(BnfoldError):
    """The file is not a model, or an invalid one (exit code 3)."""


class UnsupportedModelError(BnfoldError):
    """The model is valid, but bnfold cannot read this kind of it (exit code 3)."""


class VerificationError(BnfoldError):
    """Equality was not shown. Of this very class: the folded model does not equal the original (exit code 1).

    Args:
        message: one line.
        report: the bnfold.report.model.Report of the run, where there is one.
    """

    def __init__(self, message: str, report: object | None = None) -> None:
        super().__init__(message)
        self.report = report


class UncheckedError(VerificationError):
    """Whether the models are equal could not be found out: neither yes nor no (exit code 5).

    The runtime lacks an operator, no input was found that the original takes, memory or time ran out.
    """


class InvalidOriginalError(UncheckedError, ModelFormatError):
    """The original is no valid model, says the runtime that should have run it (exit code 3)."""


class InternalError(Exception):
    """bnfold contradicts itself. Always a bug in bnfold, never in the model."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; this is a bug in bnfold, please report it with the model")


class UnexpectedError(Exception):
    """An error that nobody raised on purpose, as it is told to people and between processes (exit code 70).

    Args:
        message: one line.
        trace: where it happened, for those who want to know.
    """

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace

    @classmethod
    def of(cls, error: BaseException) -> "UnexpectedError":
        """What to tell of any error."""
        import traceback

        trace = "".join(traceback.format_exception(error))
        if isinstance(error, InternalError):
            return cls(str(error), trace)
        return cls(
            f"unexpected {type(error).__name__}: {error}; this is a bug in bnfold, please report it with the model "
            "and with what -v prints",
            trace,
        )


_SAYS_LAST = "The following operation failed in the TorchScript interpreter"


def first_line(error: Exception) -> str:
    """What somebody else's exception says, in one line; the name of its class where it says nothing.

    torch tells what happened in a script last, behind a line that is always the same and the code around.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if lines[0].startswith(_SAYS_LAST) else lines[0]
