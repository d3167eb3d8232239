"""What a check that did not pass means for a fold."""

from collections.abc import Callable
from dataclasses import replace

from bnfold.errors import InvalidOriginalError, UncheckedError, VerificationError
from bnfold.keywords import keyword
from bnfold.report.readable import Report
from bnfold.verification import Verification


def verdict_of(check: Callable[[], Verification], seed: int) -> Verification:
    """The verdict of a check; "unchecked" where it raises UncheckedError, so that what was folded can be told.

    Args:
        check: the check.
        seed: that it was to draw its inputs with.

    Raises:
        InvalidOriginalError: there is nothing to fold.
    """
    try:
        return check()
    except InvalidOriginalError as error:
        raise InvalidOriginalError(f"{str(error).rstrip('.')}; {_without_check()}") from error
    except UncheckedError as error:
        return Verification(status="unchecked", samples=0, seed=seed, problem=str(error))


def raise_if_failed(report: Report) -> None:
    """Raise VerificationError where the check failed, UncheckedError where it said nothing; both carry the report."""
    verdict = report.verification
    if verdict.status == "unchecked":
        why = f"the fold could not be checked: {verdict.problem.rstrip('.')}; {_without_check()}"
        raise UncheckedError(why, replace(report, output=None))
    if verdict.status != "failed":
        return
    failed = next((entry for entry in verdict.outputs if not entry.passed), None)
    why = verdict.problem or (f"output {failed.name!r}: {failed.problem}" if failed else "the check failed")
    raise VerificationError(f"the folded model does not equal the original: {why}", replace(report, output=None))


def _without_check() -> str:
    return f"to go on without a check use {keyword('verify', False)}"
