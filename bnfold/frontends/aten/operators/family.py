"""Rows of operators, declared where their decoders stand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar

from bnfold.affine import Array
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenNode
from bnfold.frontends.aten.operators.accepted_shapes import Takes
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.row import AtenOperator, Keeps
from bnfold.refusal import Refusal
from bnfold.semantics import Meaning

if TYPE_CHECKING:
    from typing_extensions import Unpack

Decoder: TypeAlias = Callable[[AtenCall], Meaning]
Encoder: TypeAlias = Callable[[AtenCall, Any], AtenEdit | Refusal]
"""Takes the new meaning, which is of a kind that the operator's decoder returns."""
Undo: TypeAlias = Callable[[AtenNode, Array], Array | None]
"""From new values of a result to those of the first input; None where there are none."""

_Decoder = TypeVar("_Decoder", bound=Decoder)


class Known(TypedDict, total=False):
    """What a row may say beside its decoder: the attributes of `AtenOperator`."""

    encode: Encoder
    undo: Undo
    rounds: bool
    evaluate: Callable[..., object]
    has_no_values: bool
    looks_at_form_of: frozenset[str]
    is_batch_norm: bool
    trains_by: str
    changes_no_values: bool
    may_return_input: bool
    depends_on_strides: bool
    converts_in_autocast: bool
    keeps: Keeps
    takes: Takes


class AtenFamily:
    """Operators that stand in one file.

    Attributes:
        operators: in the order of the file.
    """

    def __init__(self) -> None:
        self.operators: list[AtenOperator] = []

    def operator(self, *names: str, **known: "Unpack[Known]") -> Callable[[_Decoder], _Decoder]:
        """Declare the operators that the decorated function decodes.

        Args:
            names: without namespace.
            known: what is known of all of them.
        """

        def declare(decode: _Decoder) -> _Decoder:
            self._declare(names, AtenOperator(decode=decode, **known))
            return decode

        return declare

    def without_decoder(self, *names: str, **known: "Unpack[Known]") -> None:
        """Declare operators that no rule reads.

        Args:
            names: without namespace, where it is "aten".
            known: as in `operator`.
        """
        self._declare(names, AtenOperator(**known))

    def _declare(self, names: Sequence[str], row: AtenOperator) -> None:
        self.operators += [replace(row, name=name if "::" in name else f"aten::{name}") for name in names]
