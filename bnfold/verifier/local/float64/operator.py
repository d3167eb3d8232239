"""One call of an operator, and the table of all operators that are computed here.

Floating-point tensors are float64, whatever the model stores or computes in; integers and booleans keep their type.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Compute = Callable[..., "Array | Sequence[Array]"]
"""Of the call and its inputs, None for one that is left out; gives the output, or all of them."""


class NotComputedError(Exception):
    """An operator, or a form of it, that cannot be computed in float64."""


@dataclass(frozen=True)
class Call:
    """One node as it is to be computed.

    Attributes:
        op_type: the operator.
        version: of the operator set that the model imports.
        outputs: how many outputs the node names.
        attributes: as ONNX's helper reads them.
    """

    op_type: str
    version: int
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever an attribute may hold
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def integers(self, name: str, default: Sequence[int]) -> list[int]:
        """A list of integers, which is left out or empty where the default holds."""
        return [int(value) for value in self.attributes.get(name) or default]

    def text(self, name: str, default: str) -> str:
        """A string."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)


OPERATORS: dict[str, Compute] = {}
"""By operator type, in ONNX's own domain."""
OF_MICROSOFT: dict[str, Compute] = {}
"""Likewise, in com.microsoft."""


def computes(*op_types: str, table: dict[str, Compute] = OPERATORS) -> Callable[[Compute], Compute]:
    """Enter a function into a table."""

    def enter(compute: Compute) -> Compute:
        for op_type in op_types:
            table[op_type] = compute
        return compute

    return enter
