"""Fold every BatchNorm that mathematics allows out of an exported network, and prove that nothing changed."""

from typing import TYPE_CHECKING, Any

from bnfold.version import __version__

if TYPE_CHECKING:
    from bnfold.api import FoldOptions, FoldResult, explain, fold, fold_file, verify

__all__ = ["FoldOptions", "FoldResult", "__version__", "explain", "fold", "fold_file", "verify"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """The API, imported when it is first asked for: `import bnfold` alone loads neither onnx nor onnxruntime."""
    if name in __all__:
        from bnfold import api

        return getattr(api, name)
    raise AttributeError(f"module 'bnfold' has no attribute {name!r}")
