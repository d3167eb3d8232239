"""Models of onnx_ir, by way of protobufs. Importing this module imports onnx_ir, which bnfold itself does not need."""

from dataclasses import replace

import onnx_ir

from bnfold.api.formats.onnx import OnnxFormat
from bnfold.api.options import IN_MEMORY, FoldOptions
from bnfold.api.pipeline import fold_in_memory
from bnfold.api.result import FoldResult
from bnfold.api.stopwatch import Stopwatch


def fold_onnx_ir(model: onnx_ir.Model, options: FoldOptions) -> FoldResult[onnx_ir.Model]:
    """Fold a model; it is left unchanged.

    Raises:
        BnfoldError: as `bnfold.fold`.
    """
    watch = Stopwatch()
    # A clone shares its tensors with the model; loading replaces those of the clone alone.
    loaded = onnx_ir.external_data.load_to_model(model.clone())
    result = fold_in_memory(OnnxFormat().hold(onnx_ir.to_proto(loaded), options), IN_MEMORY, watch)
    return replace(result, model=onnx_ir.from_proto(result.model))
