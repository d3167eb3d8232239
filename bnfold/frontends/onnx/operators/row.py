"""What a row of the table of operators holds, declared where the operator's decoder stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from bnfold.frontends.common.signatures import may_be_affine
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.refusal import Refusal
from bnfold.semantics import Meaning

Decode: TypeAlias = Callable[[OnnxContext], Meaning]
Encode: TypeAlias = Callable[[OnnxContext, Any], OnnxEdit | Refusal]
"""Takes the new meaning, of a kind that its signature names."""

_Decode = TypeVar("_Decode", bound=Decode)


@dataclass(frozen=True)
class Operator:
    """All that is known of an operator.

    Attributes:
        op_type: its type.
        domain: that it belongs to; "" is ONNX's own.
        versions: those that the decoder was written and tested for.
        decode: from a node to what it means; None where no node of it can mean anything to a rule.
        encode: from a new meaning of a node to the edit that gives it to the node; None where no map is absorbed.
        why_not_linear: where there is no decoder, why no map can pass; "" where that is not known.
        hint: what a person can do about that.
        traits: what is known of it, whatever the parameters of a node are.
    """

    op_type: str
    domain: str = ""
    versions: frozenset[int] = frozenset()
    decode: Decode | None = None
    encode: Encode | None = None
    why_not_linear: str = ""
    hint: str = ""
    traits: Traits = Traits()  # noqa: RUF009 - frozen


class Family:
    """Operators that stand in one file.

    Attributes:
        operators: in the order of the file.
    """

    def __init__(self) -> None:
        self.operators: list[Operator] = []

    def operator(
        self,
        op_type: str,
        versions: Sequence[int],
        *,
        domain: str = "",
        encode: Encode | None = None,
        traits: Traits = Traits(),  # noqa: B008 - frozen
    ) -> Callable[[_Decode], _Decode]:
        """Declare the operator that the decorated function decodes; the arguments are the attributes of `Operator`."""

        def declare(decode: _Decode) -> _Decode:
            known = replace(traits, may_be_affine=may_be_affine(decode))
            self.operators.append(Operator(op_type, domain, frozenset(versions), decode, encode, traits=known))
            return decode

        return declare

    def without_decoder(
        self,
        *op_types: str,
        domain: str = "",
        why_not_linear: str = "",
        hint: str = "",
        traits: Traits = Traits(),  # noqa: B008 - frozen
    ) -> None:
        """Declare operators that no map passes."""
        self.operators += [
            Operator(op_type, domain, why_not_linear=why_not_linear, hint=hint, traits=traits) for op_type in op_types
        ]
