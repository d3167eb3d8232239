"""The verdict on two models for people, as `bnfold verify` prints it."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from bnfold.report.evidence import evidence
from bnfold.report.text_check import answer_row, check_in_full
from bnfold.report.text_layout import HEADING, as_lines
from bnfold.report.wording import printable
from bnfold.verification import Verification

_UNCHANGED = "both hold the same nodes and the same numbers"


def render_verification(
    verification: Verification, a: str, b: str, *, width: int = 80, color: bool = False, verbose: bool = False
) -> str:
    """The verdict as lines of text, without its warnings.

    Args:
        verification: the verdict.
        a: name of the reference.
        b: name of the model that was judged.
        width: columns of the terminal; longer lines are wrapped.
        color: whether to put ANSI colours in.
        verbose: every figure as well.
    """
    return as_lines(_sections(verification, a, b, verbose=verbose), width=width, color=color)


def _sections(verification: Verification, a: str, b: str, *, verbose: bool) -> Iterator[list[RenderableType]]:
    yield [Text.assemble((printable(b), HEADING), " against ", (printable(a), HEADING), overflow="fold")]
    yield [answer_row(verification, evidence(verification, _UNCHANGED))]
    if verbose:
        yield check_in_full(verification)
