"""A changed weight that is rounded when it is written, in pieces that stay in the processor's cache.

So however large a model is, what folding has made of its weights takes no memory until then: only factors are kept.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bnfold.frontends.common.precision import AnyArray, rounded_rows
from bnfold.weight import Weight

Layout: TypeAlias = Callable[[AnyArray], AnyArray]
"""From the layout of a meaning's weight to that of the operator."""


class RoundedWeight:
    """Numbers in the type and the layout of a file, made whenever they are asked for.

    Args:
        weight: exact.
        dtype: of the file.
        dead: (groups * outputs,), the rows that become 0.
        layout: that of the file.

    Attributes:
        dtype: the same.
    """

    def __init__(
        self, weight: Weight, dtype: np.dtype[np.generic], dead: npt.NDArray[np.bool_], layout: Layout
    ) -> None:
        self.dtype = dtype
        self._weight, self._dead, self._layout = weight, dead, layout

    @property
    def shape(self) -> tuple[int, ...]:
        """In the layout of the file."""
        return self._order[0]

    @property
    def nbytes(self) -> int:
        """How many bytes the file needs for it."""
        return prod(self.shape) * self.dtype.itemsize

    def array(self) -> AnyArray:
        """All numbers at once."""
        rounded = np.empty((self._weight.channels, *self._weight.shape[2:]), self.dtype)
        for some, numbers in rounded_rows(self._weight, self.dtype, self._dead):
            rounded[some] = numbers
        return self._layout(rounded.reshape(self._weight.shape))

    def pieces(self) -> Iterator[memoryview]:
        """The bytes of the file in their order; each is good until the next."""
        _, is_kept = self._order
        if not is_kept:
            yield bytes_of(self.array())
            return
        for _, numbers in rounded_rows(self._weight, self.dtype, self._dead):
            yield bytes_of(numbers)

    @cached_property
    def _order(self) -> tuple[tuple[int, ...], bool]:
        """The shape in the file, and whether the numbers lie there in the order of the rows."""
        rows = np.empty(self._weight.shape, np.int8)  # memory that nobody touches is not there
        stored = self._layout(rows)
        return stored.shape, stored.flags.c_contiguous and stored.ctypes.data == rows.ctypes.data


def bytes_of(array: AnyArray) -> memoryview:
    """The bytes of an array as files hold them."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
