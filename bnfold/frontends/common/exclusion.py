"""Which nodes are left alone because the caller said so."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


class Exclusion:
    """Glob patterns of labels of nodes.

    Args:
        patterns: as the caller gave them.
        labels: of all nodes that are there before anything is folded.

    Attributes:
        unmatched: those patterns that match no node, and so say nothing.
    """

    def __init__(self, patterns: Sequence[str], labels: Iterable[str]) -> None:
        self._patterns = tuple(patterns)
        known = list(labels) if patterns else []
        self.unmatched = tuple(
            pattern for pattern in patterns if not any(fnmatchcase(label, pattern) for label in known)
        )

    def __contains__(self, label: str) -> bool:
        """Whether the node with this label is to be left alone."""
        return any(fnmatchcase(label, pattern) for pattern in self._patterns)
