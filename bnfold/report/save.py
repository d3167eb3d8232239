"""Report files: JSON, HTML or SARIF by the ending of their name, written whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

from bnfold.report.html import render_html
from bnfold.report.json import render_json
from bnfold.report.model import Failure, ReportData
from bnfold.report.sarif import render_sarif
from bnfold.writing.destination import cannot_be_written, destination_of
from bnfold.writing.publishing import publish_files
from bnfold.writing.staging import staging_folder

_RENDERERS = {".html": render_html, ".sarif": render_sarif}


def save_report(path: Path, reports: Sequence[ReportData], failures: Sequence[Failure] = ()) -> tuple[str, ...]:
    """Write the report on a call.

    Args:
        path: HTML if it ends in .html, SARIF if in .sarif, else JSON. An existing file is replaced, a device or a pipe
            is written through.
        reports: one per model that has one, in the order of the call.
        failures: one per model that has none.

    Returns:
        Warnings, as `bnfold.writing.publishing.publish_files`.

    Raises:
        UsageError: it cannot be written; what was there before is still there.
    """
    destination = destination_of(path)
    render = _RENDERERS.get(path.suffix.lower(), render_json)
    with staging_folder(destination) as folder:
        staged = folder / destination.path.name
        try:
            staged.write_bytes(render(reports, failures).encode("utf-8", errors="backslashreplace"))
        except OSError as error:
            raise cannot_be_written(path, error) from error
        return publish_files([staged], destination)
