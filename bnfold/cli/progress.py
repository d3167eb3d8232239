"""One line on a terminal for all models of a call: how many are done, which are worked on, and what is being done."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bnfold.report.wording import printable

if TYPE_CHECKING:
    from rich.status import Status

Step = Callable[[str], None]


class Progress:
    """The line. Nothing is drawn where standard error is no terminal.

    Args:
        total: how many models there are.
        quiet: draw nothing.
    """

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._done = 0
        self._doing: dict[str, str] = {}
        self._quiet = quiet or sys.stderr is None or not sys.stderr.isatty()
        self._status: Status | None = None

    @contextmanager
    def of(self, subject: object) -> Iterator[Step]:
        """A model is worked on inside; what is being done with it is told to the function."""
        name = printable(str(subject))

        def tell(doing: str) -> None:
            self._doing[name] = printable(doing)
            self._draw()

        tell("reading")
        try:
            yield tell
        finally:
            self._done += 1
            del self._doing[name]
            self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line is gone inside, so that something else can be printed; it comes back when there is news."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        yield

    def _draw(self) -> None:
        if self._quiet:
            return
        if not self._doing:
            with self.aside():
                return
        from rich.console import Console
        from rich.text import Text

        line = Text(self._line(), overflow="ellipsis", no_wrap=True)
        if self._status is None:
            self._status = Console(stderr=True).status(line)
            self._status.start()
        else:
            self._status.update(line)

    def _line(self) -> str:
        doing = ", ".join(f"{name}: {what}" for name, what in self._doing.items())
        return doing if self._total == 1 else f"{self._done} of {self._total} done; {doing}"
