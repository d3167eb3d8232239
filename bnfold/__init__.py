"""Fold every BatchNorm that mathematics allows out of an exported network, and prove that nothing changed."""

import importlib
from typing import TYPE_CHECKING, Any

from bnfold.version import __version__

if TYPE_CHECKING:
    from bnfold.api import FoldOptions, FoldResult, explain, fold, fold_file, verify
    from bnfold.errors import (
        BnfoldError,
        InternalError,
        InvalidOriginalError,
        ModelFormatError,
        NotInstalledError,
        UncheckedError,
        UnexpectedError,
        UnsupportedModelError,
        UsageError,
        VerificationError,
    )
    from bnfold.guard import Limits
    from bnfold.report.readable import Report
    from bnfold.timings import BenchOptions
    from bnfold.verification import Verification, VerifyOptions

__all__ = [
    "BenchOptions",
    "BnfoldError",
    "FoldOptions",
    "FoldResult",
    "InternalError",
    "InvalidOriginalError",
    "Limits",
    "ModelFormatError",
    "NotInstalledError",
    "Report",
    "UncheckedError",
    "UnexpectedError",
    "UnsupportedModelError",
    "UsageError",
    "Verification",
    "VerificationError",
    "VerifyOptions",
    "__version__",
    "explain",
    "fold",
    "fold_file",
    "verify",
]

_ELSEWHERE = {
    "BenchOptions": "bnfold.timings",
    "Limits": "bnfold.guard",
    "Report": "bnfold.report.readable",
    "Verification": "bnfold.verification",
    "VerifyOptions": "bnfold.verification",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """The API, imported when it is first asked for: `import bnfold` alone loads neither onnx nor onnxruntime."""
    if name not in __all__:
        raise AttributeError(f"module 'bnfold' has no attribute {name!r}")
    errors = importlib.import_module("bnfold.errors")
    if hasattr(errors, name):
        return getattr(errors, name)
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "bnfold.api")), name)
