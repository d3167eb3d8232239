"""A child process with limits, in which a model file is opened, folded and checked.

A file from a stranger can crash the libraries that read it, never end, or ask for all memory. What happens in the child
stays there: here it becomes one error.
"""

from bnfold.guard.limits import Limits
from bnfold.guard.together import finish, finish_all, run_guarded
from bnfold.guard.warm import import_unused
from bnfold.guard.watch import Watching, can_guard, watch

__all__ = ["Limits", "Watching", "can_guard", "finish", "finish_all", "import_unused", "run_guarded", "watch"]
