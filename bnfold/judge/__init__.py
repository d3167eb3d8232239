"""The judge: whether two ONNX models compute the same, by running both. It shares no code with the accused."""

from bnfold.judge.identical import verdict_if_identical
from bnfold.judge.judge import check
from bnfold.judge.model import ModelSource
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import SKIPPED, OutputCheck, Verification
from bnfold.judge.trial import Progress

__all__ = [
    "SKIPPED",
    "ModelSource",
    "OutputCheck",
    "Progress",
    "Verification",
    "VerifyOptions",
    "check",
    "verdict_if_identical",
]
