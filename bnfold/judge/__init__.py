"""The judge: whether two ONNX models compute the same, by running both. It shares no code with the accused."""

from bnfold.judge.judge import Progress, check
from bnfold.judge.model import ModelSource
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import SKIPPED, OutputCheck, Verification

__all__ = ["SKIPPED", "ModelSource", "OutputCheck", "Progress", "Verification", "VerifyOptions", "check"]
