"""One attempt at a fold, or as many as it takes to find out what holds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from bnfold.api.options import FoldOptions
from bnfold.reverting import Attempt, fold_what_holds

T = TypeVar("T")


def fold_as_asked(attempt: Callable[[Sequence[str]], Attempt[T]], options: FoldOptions) -> Attempt[T]:
    """Fold everything; where the options say so, drop what fails the check.

    Args:
        attempt: folds and judges everything but the nodes that these patterns match.
        options: of the fold.
    """
    return fold_what_holds(attempt) if options.on_mismatch == "revert" else attempt(())


def leaving_alone(options: FoldOptions, patterns: Sequence[str]) -> FoldOptions:
    """The same options with further nodes to leave alone."""
    return replace(options, exclude=(*options.exclude, *patterns))
