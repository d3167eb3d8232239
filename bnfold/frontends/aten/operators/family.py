"""Rows of operators, declared where their decoders stand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from bnfold.affine import Array
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenNode
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.row import AtenOperator
from bnfold.refusal import Refusal
from bnfold.semantics import Meaning

Decoder: TypeAlias = Callable[[AtenCall], Meaning]
Encoder: TypeAlias = Callable[[AtenCall, Any], AtenEdit | Refusal]
"""Takes the new meaning, which is of a kind that the operator's decoder returns."""
Undo: TypeAlias = Callable[[AtenNode, Array], Array | None]
"""From new values of a result to those of the first input; None where there are none."""

_Decoder = TypeVar("_Decoder", bound=Decoder)


class AtenFamily:
    """Operators that stand in one file.

    Attributes:
        operators: in the order of the file.
    """

    def __init__(self) -> None:
        self.operators: list[AtenOperator] = []

    def operator(self, *names: str, **known: Any) -> Callable[[_Decoder], _Decoder]:  # noqa: ANN401 - of `AtenOperator`
        """Declare the operators that the decorated function decodes.

        Args:
            names: without namespace.
            known: what is known of all of them, as the attributes of `AtenOperator`.
        """

        def declare(decode: _Decoder) -> _Decoder:
            self._declare(names, AtenOperator(decode=decode, **known))
            return decode

        return declare

    def without_decoder(self, *names: str, **known: Any) -> None:  # noqa: ANN401 - of `AtenOperator`
        """Declare operators that no rule reads.

        Args:
            names: without namespace, where it is "aten".
            known: as in `operator`.
        """
        self._declare(names, AtenOperator(**known))

    def _declare(self, names: Sequence[str], row: AtenOperator) -> None:
        self.operators += [replace(row, name=name if "::" in name else f"aten::{name}") for name in names]
