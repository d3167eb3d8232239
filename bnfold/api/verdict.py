"""What a failed check means for a fold."""

from dataclasses import replace

from bnfold.errors import VerificationError
from bnfold.report.model import Report


def raise_if_failed(report: Report) -> None:
    """Raise VerificationError where the check failed; the error carries the report."""
    verdict = report.verification
    if verdict.status != "failed":
        return
    failed = next((entry for entry in verdict.outputs if not entry.passed), None)
    why = verdict.problem or (f"output {failed.name!r}: {failed.problem}" if failed else "the check failed")
    raise VerificationError(f"the folded model does not equal the original: {why}", replace(report, output=None))
