"""Which tests need kernels of onnxruntime that not every version has with which bnfold works."""

import onnxruntime
import pytest
from packaging.version import Version

# 1.23.2 is the newest for Python 3.10. It has no kernels for DeformConv-19, for weights of two bits and some others,
# ends the process on an Attention without a bias, and leaves sequences of length 0 unwritten in ReverseSequence, so
# that a model makes other numbers in every run.
needs_newer_kernels = pytest.mark.skipif(
    Version(onnxruntime.__version__) < Version("1.32"), reason="written for the kernels of onnxruntime 1.32"
)
