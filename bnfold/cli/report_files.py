"""The report files of a call are always written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.screen import Screen
from bnfold.errors import UsageError

if TYPE_CHECKING:
    from bnfold.report.model import Failure
    from bnfold.report.readable import Report


def save_reports(
    paths: Sequence[Path], reports: "Sequence[Report]", failures: "Sequence[Failure]", screen: Screen
) -> list[ExitCode]:
    """Write all report files, also where there is nothing but failures, so that no older one is taken for them.

    Returns:
        The code of each that cannot be written.
    """
    if not paths:
        return []
    from bnfold.report.save import save_report

    codes = []
    for path in paths:
        try:
            for warning in save_report(path, reports, failures):
                screen.warn(warning, path)
        except UsageError as error:
            codes.append(screen.complain_of(error))
    return codes
