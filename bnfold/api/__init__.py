"""The Python API: fold, explain and verify, for files and for models in memory, of ONNX and of PyTorch."""

from bnfold.api.files import fold_file
from bnfold.api.models import explain, fold
from bnfold.api.options import FoldOptions
from bnfold.api.result import FoldResult
from bnfold.api.verifying import verify
from bnfold.verification import VerifyOptions

__all__ = ["FoldOptions", "FoldResult", "VerifyOptions", "explain", "fold", "fold_file", "verify"]
