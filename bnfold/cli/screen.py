"""What the command prints: results to standard output, all else to standard error, and warnings even if it is quiet."""

import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO

from bnfold.cli.exit_codes import ExitCode, code_of, message_of
from bnfold.cli.progress import Progress
from bnfold.errors import UnexpectedError, UsageError
from bnfold.report.wording import one_line, printable

if TYPE_CHECKING:
    from bnfold.report.model import Failure
    from bnfold.report.readable import Report
    from bnfold.verification import Verification

_NARROWEST, _WIDEST = 40, 120
_YELLOW, _PLAIN = "\x1b[33m", "\x1b[0m"
_HINT = "(-v: every node; --report x.html: drawings)\n"
_HINT_ON_CODES = "(-v: every node; --report x.html: drawings; bnfold explain {})\n"


class Screen:
    """Prints what a call has to say.

    Args:
        quiet: print no results and no progress.
        verbose: print every node, and the tracebacks of bugs.
        aside: print results to standard error, because standard output is for a file.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, aside: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._results = sys.stderr if aside else sys.stdout
        self._shown = 0
        self._models = 1
        self._progress: Progress | None = None
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def show(self, report: "Report") -> None:
        """Print the result of one model, and the warnings in it; if quiet, these alone."""
        if not self._quiet:
            from bnfold.report.text import render_text

            text = render_text(report, width=_width(), color=self._color, verbose=self._verbose, warnings=False)
            hint = _hint_on(report) if self._gives_hints else ""
            self._write(self._results, f"\n{text}{hint}" if self._shown else f"{text}{hint}")
            self._shown += 1
        for warning in (*report.verification.warnings, *report.warnings):
            self.warn(warning, report.input)

    def show_verdict(self, verdict: "Verification", a: str, b: str) -> None:
        """Print whether one model is another, and the warnings; if quiet, these alone."""
        if not self._quiet:
            from bnfold.report.text_verify import render_verification

            text = render_verification(verdict, a, b, width=_width(), color=self._color, verbose=self._verbose)
            self._write(self._results, text)
        for warning in verdict.warnings:
            self.warn(warning, b)

    def tell(self, text: str) -> None:
        """Print lines that were asked for."""
        self._write(self._results, text)

    @property
    def _gives_hints(self) -> bool:
        """Whether somebody reads the one result of a call as it is printed, and has not asked for all of it."""
        return not self._verbose and self._models == 1 and self._results is not None and self._results.isatty()

    @property
    def _color(self) -> bool:
        return _has_color(self._results)

    def show_totals(self, reports: "Sequence[Report]", failures: "Sequence[Failure]", spent: float) -> None:
        """Print what became of several models together, in so many seconds."""
        if not self._quiet:
            from bnfold.report.text_totals import render_totals

            self._write(self._results, f"\n{render_totals(reports, failures, spent)}")

    def note(self, lines: "Sequence[str]") -> None:
        """Print to standard error what those want to know who want all."""
        for line in lines if self._verbose else ():
            self.complain(line)

    def warn(self, message: str, subject: object = "") -> None:
        """Print one line of what is no error, but must be seen."""
        warning = f"{_YELLOW}warning:{_PLAIN}" if _has_color(sys.stderr) else "warning:"
        self._write(sys.stderr, f"{_prefixed(subject)}{warning} {printable(one_line(message))}\n")

    def help(self, text: str) -> None:
        """Print lines for whoever asked for nothing."""
        self._write(sys.stderr, text)

    def complain(self, message: str, subject: object = "") -> None:
        """Print one line "bnfold: SUBJECT: message" to standard error."""
        self._write(sys.stderr, f"{_prefixed(subject)}{printable(one_line(message))}\n")

    def complain_of(self, error: Exception, subject: object = "") -> ExitCode:
        """Print what is wrong, and of a bug, to those who want to know, where it happened."""
        code = code_of(error)
        self.complain(message_of(error), subject)
        if code is ExitCode.BUG and self._verbose:
            told = error if isinstance(error, UnexpectedError) else UnexpectedError.of(error)
            self._write(sys.stderr, told.trace)
        return code

    @contextmanager
    def progress(self, total: int) -> Iterator[Progress]:
        """Show which of so many models are being worked on, inside; on a terminal, what is printed goes above it."""
        self._models = total
        self._progress = Progress(total, quiet=self._quiet, log=self.complain)
        try:
            yield self._progress
        finally:
            with self._progress.aside():
                self._progress = None

    def _write(self, stream: TextIO | None, text: str) -> None:
        with nullcontext() if self._progress is None else self._progress.aside():
            _write(stream, text)


def _hint_on(report: "Report") -> str:
    """How to learn more of a result, where there is more."""
    code = next((kept.refusals[0].reason.code for kept in report.outcome.kept if kept.is_batch_norm), "")
    if code:
        return _HINT_ON_CODES.format(code)
    return _HINT if report.outcome.changes else ""


def _prefixed(subject: object) -> str:
    """Who speaks, and of what, as the beginning of a line."""
    return "".join(f"{printable(part)}: " for part in ("bnfold", str(subject)) if part)


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def _has_color(stream: TextIO | None) -> bool:
    """Whether to print colours: on terminals that know them, or where FORCE_COLOR asks; never where NO_COLOR does.

    Source: no-color.org, force-color.org.
    """
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _write(stream: TextIO | None, text: str) -> None:
    """Write now. A reader that has gone away, such as head, does not end the work: the models are still folded.

    Raises:
        UsageError: the stream takes nothing for another reason.
    """
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _silence(stream)
        if not isinstance(error, BrokenPipeError):
            raise UsageError(f"the results cannot be printed: {error.strerror or error}") from error


def _silence(stream: TextIO) -> None:
    """Point the stream at nothing, or Python would try again, and complain, when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
