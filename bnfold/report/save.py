"""Report files: JSON or HTML by the ending of their name, written whole or not at all."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from bnfold.report.html import render_html, render_html_of_several
from bnfold.report.json import render_json, render_json_of_several
from bnfold.report.model import Failure, Report


def save_report(path: Path, report: Report) -> None:
    """Write the report on one model.

    Args:
        path: ends in .json or .html; an existing file is replaced.
        report: what happened.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    _replace(path, render_json(report) if _is_json(path) else render_html(report))


def save_report_of_several(path: Path, reports: Sequence[Report], failures: Sequence[Failure]) -> None:
    """Write the reports on all models of a call into one file.

    Args:
        path: as for `save_report`.
        reports: one per model that could be read, in the order of the call.
        failures: one per model that could not.

    Raises:
        OSError: as for `save_report`.
    """
    render = render_json_of_several if _is_json(path) else render_html_of_several
    _replace(path, render(reports, failures))


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # Not through tempfile: its files are private to their owner, and the report would be too.
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
