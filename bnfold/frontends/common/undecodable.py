"""The exception that a decoder raises where a node cannot be folded: it carries the `Opaque` that the node becomes."""

from typing import Any, TypeVar

import numpy.typing as npt

from bnfold.keywords import keyword
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Opaque

_Numbers = TypeVar("_Numbers", bound=npt.NDArray[Any])

IF_MEANT_FOR_INFERENCE = "if it is meant for inference, export in eval mode"


def if_meant_for_inference() -> str:
    """The hint where bnfold can read the node as an inference one as well."""
    return f"{IF_MEANT_FOR_INFERENCE}, or give {keyword('assume_inference', True)}"


class Undecodable(Exception):  # noqa: N818 - not an error: it becomes an Opaque at the decoder's door
    """A node has no meaning that maps could pass; `opaque` is the meaning that it gets instead, with the reason."""

    def __init__(self, reason: Reason, evidence: str, hint: str = "") -> None:
        super().__init__(evidence)
        self.opaque = Opaque(reason, evidence, hint)


def malformed(evidence: str) -> Undecodable:
    """The exception for a node that contradicts its operator's specification."""
    return Undecodable(Reason.MALFORMED, evidence)


def known_parameter(values: _Numbers | Refusal, *, dynamic: Reason) -> _Numbers:
    """The values of a parameter that must be known before run time.

    Args:
        values: what reading them gave.
        dynamic: the reason to give where they are not constant.
    """
    if isinstance(values, Refusal):
        reason = dynamic if values.reason is Reason.DYNAMIC_PARAMETER else values.reason
        raise Undecodable(reason, values.evidence, values.hint)
    return values
