"""A pass for onnx_ir's pipelines. Importing this module imports onnx_ir, which bnfold itself does not need."""

from typing import Any

import onnx_ir
from onnx_ir.passes import FunctionalPass, PassResult

from bnfold.api import fold


class FoldBatchNorm(FunctionalPass):
    """Folds every BatchNorm that can be folded; the input model stays as it is.

    Args:
        **options: the fields of `bnfold.FoldOptions`.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever FoldOptions takes
        super().__init__()
        self._options = options

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Fold one model.

        Raises:
            bnfold.errors.BnfoldError: as `bnfold.fold`.
        """
        result = fold(model, **self._options)
        return PassResult(model=result.model, modified=bool(result.report.outcome.changes))
