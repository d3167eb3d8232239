"""The verifier: whether two ONNX models compute the same, by running both. It shares no code with the accused."""

from bnfold.verification import SKIPPED, OutputCheck, Verification, VerifyOptions
from bnfold.verifier.models.load import ModelSource
from bnfold.verifier.pipeline import check
from bnfold.verifier.progress import Progress
from bnfold.verifier.run.identical import verdict_if_identical

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
