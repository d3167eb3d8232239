"""A child process with limits, in which a model file is opened, folded and checked.

A file from a stranger can crash the libraries that read it, never end, or ask for all memory. What happens in the child
stays there: here it becomes one error.
"""

from bnfold.guard.limits import Limits
from bnfold.guard.warm import import_unused
from bnfold.guard.watch import can_guard, run_guarded

__all__ = ["Limits", "can_guard", "import_unused", "run_guarded"]
