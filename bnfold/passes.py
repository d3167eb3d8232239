"""A pass for onnx_ir's pipelines. Importing this module imports onnx_ir, which bnfold itself does not need."""

from typing import TYPE_CHECKING

import onnx_ir
from onnx_ir.passes import FunctionalPass, PassResult

from bnfold.api import fold
from bnfold.report.readable import Report

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from bnfold.api.typed import FoldKeywords


class FoldBatchNorm(FunctionalPass):
    """Folds every BatchNorm that can be folded; the input model stays as it is.

    Args:
        **options: the fields of `bnfold.FoldOptions`.

    Attributes:
        report: on the last model, every fold and every node that stays and why; None before the first.
    """

    def __init__(self, **options: "Unpack[FoldKeywords]") -> None:
        super().__init__()
        self._options = options
        self.report: Report | None = None

    def call(self, model: onnx_ir.Model) -> PassResult:
        """Fold one model.

        Raises:
            bnfold.errors.BnfoldError: as `bnfold.fold`.
        """
        self.report = None
        result = fold(model, **self._options)
        self.report = result.report
        return PassResult(model=result.model, modified=bool(result.report.outcome.changes))
