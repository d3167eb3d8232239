"""A program of PyTorch after folding, before anybody has checked it."""

from dataclasses import dataclass
from typing import Any

from bnfold.outcome import Outcome
from bnfold.report.model import Change


@dataclass(frozen=True)
class FoldedProgram:
    """What a frontend hands to the doors.

    Attributes:
        program: the folded program, of the kind that was given.
        reference: what it must equal: the original, or the original read as an inference program.
        outcome: what was folded and what was not.
        nodes: operators before and after.
        read_as_inference: whether the reference is another program than the original for that reason.
    """

    program: Any
    reference: Any
    outcome: Outcome
    nodes: Change
    read_as_inference: bool = False
