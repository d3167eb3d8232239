"""Exceptions. A refusal to fold is not one of them: see bnfold.refusal."""


class BnfoldError(Exception):
    """Base of everything that bnfold raises on purpose. Its message is one line that says how to go on."""


class UsageError(BnfoldError):
    """The options contradict each other, the model or the file system (exit code 2)."""


class ModelFormatError(BnfoldError):
    """The file is not a model, or an invalid one (exit code 3)."""


class UnsupportedModelError(BnfoldError):
    """The model is valid, but bnfold cannot read this kind of it (exit code 3)."""


class VerificationError(BnfoldError):
    """The folded model does not equal the original, or equality could not be shown (exit code 1).

    Args:
        message: one line.
        report: the bnfold.report.model.Report of the run, where there is one.
    """

    def __init__(self, message: str, report: object | None = None) -> None:
        super().__init__(message)
        self.report = report


class InternalError(Exception):
    """bnfold contradicts itself. Always a bug in bnfold, never in the model."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; this is a bug in bnfold, please report it with the model")
