"""What the pipeline asks of a format, and of a model of it on the way through a fold."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from bnfold.api.options import FoldOptions
from bnfold.api.stopwatch import Stopwatch
from bnfold.outcome import Change, Outcome
from bnfold.report.model import FormatName
from bnfold.timings import BenchOptions, Latency
from bnfold.verification import Verification, VerifyOptions

Progress: TypeAlias = Callable[[str], None]
"""Told what is being done."""


def untold(_doing: str) -> None:
    """Ignore progress."""


class Candidate(Protocol):
    """A folded model, saved or kept in memory, that is yet to be compared with the original."""

    @property
    def files(self) -> Sequence[Path]:
        """Where it was written, the model last; none where it stays in memory."""

    @property
    def size(self) -> int:
        """Bytes of the model and its data."""

    @property
    def warnings(self) -> Sequence[str]:
        """What its user should know of it beside the checks."""

    def check(self, how: VerifyOptions, progress: Progress) -> Verification:
        """Whether it computes what the original does.

        Raises:
            UsageError: the options do not fit the model.
            UncheckedError: that cannot be found out.
        """

    def reproduce(self, verdict: Verification, how: VerifyOptions, folder: Path) -> str:
        """Write what shows how it differs from the original, for those who do not have bnfold.

        Args:
            verdict: of a check that failed.
            how: that was done.
            folder: to write into, which nobody else uses.

        Returns:
            What weakens it; "" where nothing does.

        Raises:
            UncheckedError: that is not possible, and why.
        """

    def time(self, how: BenchOptions, fed: VerifyOptions) -> Sequence[Latency]:
        """How long it takes, and how long the original does.

        Args:
            how: to time them.
            fed: what they are run on: the first sample of a check with these options.

        Raises:
            UsageError: the options do not fit the model.
            UncheckedError: the original does not run.
        """


class Folded(Protocol):
    """A model after folding."""

    @property
    def outcome(self) -> Outcome:
        """What was folded and what was not."""

    @property
    def nodes(self) -> Change:
        """How many nodes it has, those of bodies and functions included."""

    @property
    def parameters(self) -> Change:
        """How many numbers its weights hold."""

    @property
    def overridable_initializers(self) -> int:
        """How many initializers callers may replace."""

    @property
    def read_as_inference(self) -> bool:
        """Whether the original says training, and was read as an inference model because the caller asked for that."""

    @property
    def model(self) -> Any:  # noqa: ANN401 - of the format's own class
        """The folded model, of the kind that was given, or as the options ask for it."""

    def save(self, folder: Path, target: Path) -> Candidate:
        """Write it.

        Args:
            folder: an existing folder that nobody else uses.
            target: where it will go; the file bears that name in the folder.

        Raises:
            UsageError: the disk is full, or the folder refuses.
            UnsupportedModelError: it cannot be written in the format that the options ask for.
        """

    def keep(self) -> Candidate:
        """Leave it in memory."""


class Source(Protocol):
    """A model that was opened, and can be folded as often as need be."""

    @property
    def format(self) -> FormatName:
        """Its format."""

    @property
    def options(self) -> FoldOptions:
        """What the caller asked for, with what was found out about the model where the caller said nothing."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was repaired or chosen on opening, for the user to know."""

    @property
    def size(self) -> int:
        """Bytes of the model and its data."""

    @property
    def data_files(self) -> Sequence[Path]:
        """Files beside its own that hold data of it."""

    @property
    def opsets(self) -> Sequence[tuple[str, int]]:
        """Domain and version of the operator sets that it imports; none where its format knows none."""

    def fold(self, without: Collection[int], watch: Stopwatch) -> Folded:
        """Fold it, but for the nodes of these numbers; see `bnfold.outcome.Fold`."""


class Format(Protocol):
    """One format of models."""

    def open(self, path: Path, options: FoldOptions, scratch: Path | None) -> Source:
        """Open a file.

        Args:
            path: of the file.
            options: what to fold and how to check it.
            scratch: a folder for what the check needs beside the file; None where nothing is checked.

        Raises:
            ModelFormatError, UnsupportedModelError: it cannot be read or folded.
            UsageError: the options do not fit it.
        """

    def load(self, path: Path, options: FoldOptions) -> AbstractContextManager[Source]:
        """Open a file of which the result is to live in memory, for as long as the context lasts.

        Args and Raises: as `open`.
        """

    def hold(self, model: object, options: FoldOptions) -> Source:
        """Take a model in memory, which is left unchanged.

        Raises:
            UsageError: it is of another class, or too large.
            ModelFormatError, UnsupportedModelError: as `open`.
        """

    def write(self, model: object, folder: Path, target: Path) -> Sequence[Path]:
        """Write a model in memory, which is left unchanged.

        Args:
            model: of a class of this format.
            folder: an existing folder that nobody else uses.
            target: where it will go; the file bears that name in the folder.

        Returns:
            The files, data first and the model last.

        Raises:
            UsageError: the disk is full, or the folder refuses.
        """
