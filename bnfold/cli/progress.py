"""What a call is doing, for those who wait: one line on a terminal, and a line now and then in a log."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnfold.report.wording import printable

if TYPE_CHECKING:
    from rich.status import Status
    from rich.text import Text

Step = Callable[[str], None]

# A log gets lines of a model that takes longer than that: at every stage, if the last line is not of just now, and of a
# stage that takes very long.
_LONG = 10.0
_JUST_NOW = 3.0
_VERY_LONG = 30.0


@dataclass(eq=False)
class _Work:
    """One model that is worked on.

    Attributes:
        name: of the model.
        number: of the model in the call, from 1.
        began: when.
        doing: what is being done.
        logged: of the last line in a log: the stage, and when it was.
    """

    name: str
    number: int
    began: float
    doing: str = ""
    logged: tuple[str, float] = ("", 0.0)


class Progress:
    """Shows the models that are worked on.

    Args:
        total: how many models there are.
        quiet: say nothing.
        log: where standard error is no terminal, told a line; a terminal shows a line that changes.
        clock: seconds.
    """

    def __init__(
        self, total: int, *, quiet: bool, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._begun = 0
        self._working: list[_Work] = []
        self._quiet = quiet or sys.stderr is None
        self._draws = not self._quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._log, self._clock = log, clock
        self._status: Status | None = None

    @contextmanager
    def of(self, subject: object) -> Iterator[Step]:
        """A model is worked on inside; what is being done with it is told to the function."""
        self._begun += 1
        work = _Work(printable(str(subject)), self._begun, self._clock())
        self._working.append(work)

        def tell(doing: str) -> None:
            work.doing = printable(doing)
            self._show(work)

        tell("reading")
        try:
            yield tell
        finally:
            if self._working == [work]:
                self._clear()
            self._working.remove(work)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line is gone inside, so that something else can be printed; it comes back when there is news."""
        self._clear()
        yield

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self, work: _Work) -> None:
        if self._draws:
            self._draw()
        elif not self._quiet:
            self._note(work)

    def _draw(self) -> None:
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status(_Line(self))
            self._status.start()

    def _note(self, work: _Work) -> None:
        """Leave a line in the log where there is news of a model that takes long."""
        now, stage = self._clock(), work.doing.partition(" ")[0]
        last_stage, last = work.logged
        patience = _JUST_NOW if stage != last_stage else _VERY_LONG
        if now - work.began >= _LONG and now - last >= patience:
            work.logged = (stage, now)
            self._log(self._words(work))

    def _words(self, work: _Work) -> str:
        """Such as "[3/57] m.onnx: comparing 4/6 inputs, 31/104 changes, 12 s"."""
        where = f"[{work.number}/{self._total}] " if self._total > 1 else ""
        return f"{where}{work.name}: {work.doing}, {self._clock() - work.began:.0f} s"

    def line(self) -> str:
        """All that is worked on."""
        return "; ".join(map(self._words, list(self._working)))


class _Line:
    """The line on a terminal, made anew whenever it is drawn: its seconds go on while a step takes long."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(self._progress.line(), overflow="ellipsis", no_wrap=True)
