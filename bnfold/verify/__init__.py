"""The judge: whether two ONNX models compute the same, by running both. It shares no code with the accused."""

from bnfold.verify.judge import check
from bnfold.verify.options import VerifyOptions
from bnfold.verify.result import SKIPPED, OutputCheck, Verification
from bnfold.verify.sessions import ModelSource

__all__ = ["SKIPPED", "ModelSource", "OutputCheck", "Verification", "VerifyOptions", "check"]
