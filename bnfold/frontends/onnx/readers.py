"""The uses of a tensor, in their order. A tensor may have thousands, so none is looked for among the others."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from bnfold.frontends.onnx.graph import OnnxNode

Use = tuple["OnnxNode", int]
"""A node, and the index of the input by which it reads the tensor."""


class Uses(Sequence[Use]):
    """Uses in the order in which they were added. Who changes them on the way through them goes through a copy."""

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
        """One more."""
        self._uses[use] = None

    def drop(self, use: Use) -> None:
        """One less."""
        del self._uses[use]

    def clear(self) -> None:
        """None any more."""
        self._uses.clear()
