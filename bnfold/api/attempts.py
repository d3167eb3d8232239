"""One attempt at a fold, or as many as it takes to find out what holds."""

from typing import TypeVar

from bnfold.api.options import FoldOptions
from bnfold.reverting import Attempt, Try, fold_what_holds

T = TypeVar("T")


def fold_as_asked(attempt: Try[T], options: FoldOptions) -> Attempt[T]:
    """Fold everything; where the options say so, drop what fails the check."""
    return fold_what_holds(attempt) if options.on_mismatch == "revert" else attempt(())
