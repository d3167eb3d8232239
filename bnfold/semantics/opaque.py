"""A node that is not understood."""

from dataclasses import dataclass

from bnfold.refusal import Reason


@dataclass(frozen=True)
class Opaque:
    """A node that no map may pass, and why.

    Attributes:
        reason: the code that a refusal will carry.
        evidence: what was seen at this node.
        hint: what a person could change; empty where nothing helps.
    """

    reason: Reason
    evidence: str
    hint: str = ""
