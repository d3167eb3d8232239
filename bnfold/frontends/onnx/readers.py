"""The uses of a tensor, in their order. A tensor may have thousands, so none is looked for among the others."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar, overload

Use = TypeVar("Use")


class Uses(Sequence[Use]):
    """Uses, each once, in the order in which they were added. Iterate over a copy to change them on the way."""

    def __init__(self) -> None:
        self._uses: dict[Use, None] = {}

    def __len__(self) -> int:
        return len(self._uses)

    def __iter__(self) -> Iterator[Use]:
        return iter(self._uses)

    def __contains__(self, use: object) -> bool:
        return use in self._uses

    @overload
    def __getitem__(self, index: int) -> Use: ...
    @overload
    def __getitem__(self, index: slice) -> list[Use]: ...
    def __getitem__(self, index: int | slice) -> Use | list[Use]:
        if isinstance(index, slice):
            return list(islice(self._uses, *index.indices(len(self))))
        return next(islice(self._uses, range(len(self))[index], None))

    def add(self, use: Use) -> None:
        """Add a use at the end."""
        self._uses[use] = None

    def drop(self, use: Use) -> None:
        """Remove a use that is there."""
        del self._uses[use]

    def clear(self) -> None:
        """Remove all."""
        self._uses.clear()
