"""fold and explain: a model by its path or in memory, answered in memory."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from bnfold.api.formats.registry import format_of_object, is_onnx_ir
from bnfold.api.opening import format_for, is_path, loaded, naming
from bnfold.api.options import IN_MEMORY, FoldOptions, parse_options
from bnfold.api.pipeline import fold_in_memory, plan
from bnfold.api.result import FoldResult
from bnfold.api.stopwatch import Stopwatch
from bnfold.api.typed import FileKeywords, FoldKeywords, with_keywords_of
from bnfold.report.readable import Report

if TYPE_CHECKING:
    import onnx
    import onnx_ir
    import torch
    from torch.export import ExportedProgram
    from typing_extensions import Unpack

    Model = str | os.PathLike[str] | onnx.ModelProto | onnx_ir.Model | torch.jit.ScriptModule | ExportedProgram


# ModelProto comes first: without stubs of protobuf, mypy takes one for whatever is asked for.
@overload
def fold(
    model: "onnx.ModelProto", *, to: Literal["", "onnx"] = "", **options: "Unpack[FoldKeywords]"
) -> "FoldResult[onnx.ModelProto]": ...
@overload
def fold(
    model: "torch.jit.ScriptModule | ExportedProgram", *, to: Literal["onnx"], **options: "Unpack[FoldKeywords]"
) -> "FoldResult[onnx.ModelProto]": ...
@overload
def fold(
    model: "torch.jit.ScriptModule", *, to: Literal[""] = "", **options: "Unpack[FoldKeywords]"
) -> "FoldResult[torch.jit.ScriptModule]": ...
@overload
def fold(
    model: "ExportedProgram", *, to: Literal[""] = "", **options: "Unpack[FoldKeywords]"
) -> "FoldResult[ExportedProgram]": ...
@overload
def fold(
    model: "onnx_ir.Model", *, to: Literal["", "onnx"] = "", **options: "Unpack[FoldKeywords]"
) -> "FoldResult[onnx_ir.Model]": ...
@overload
def fold(
    model: str | os.PathLike[str], *, to: Literal["", "onnx"] = "", **options: "Unpack[FoldKeywords]"
) -> FoldResult[Any]: ...
@with_keywords_of(FoldOptions)
def fold(model: "Model", **options: Any) -> FoldResult[Any]:
    """Fold every BatchNorm that can be folded.

    Args:
        model: a path, an onnx.ModelProto, an onnx_ir.Model, a torch.jit.ScriptModule or a
            torch.export.ExportedProgram; it is left unchanged, and so is the module that a program was exported from.
        **options: the fields of `FoldOptions`.

    Returns:
        The folded model, of the same kind (a path to an ONNX file gives a ModelProto with all data inside), and the
        report.

    Raises:
        UsageError: of another kind, or an unknown option, or torch is needed and missing; a model in memory is larger
            than protobuf serialises.
        ModelFormatError: it cannot be read, or is not there.
        UnsupportedModelError: it can be read, but not folded.
        VerificationError: the result does not equal the original; the error carries the report.
        UncheckedError: equality could not be checked; likewise.

    Examples:
        >>> result = bnfold.fold("model.onnx")
        >>> result
        <FoldResult: 4 of 4 BatchNorms folded, check passed; a ModelProto>
        >>> result.save("folded.onnx")
        >>> bnfold.fold(result.model, verify=False).report.batch_norms.found
        0
    """
    return _fold(model, options)


@with_keywords_of(FoldOptions)
def explain(model: "Model", **options: "Unpack[FileKeywords]") -> Report:
    """What `fold` would do, without checking it: every fold, and every node that stays and why.

    Args and Raises: as `fold`.

    Examples:
        >>> report = bnfold.explain("model.onnx", exclude=["/conv_bn/*"])
        >>> report
        <Report on model.onnx: 3 of 4 BatchNorms would be folded, a plan>
        >>> [(kept.node, kept.refusals[0].reason.code) for kept in report.outcome.kept]
        [('/conv_bn/BatchNormalization', 'BNF007')]
    """
    unchecked = {**options, "verify": False}
    if not is_path(model):
        return replace(_fold(model, unchecked).report, planned=True)
    chosen, watch, path = parse_options(unchecked), Stopwatch(), Path(model)
    with naming(path):
        source = format_for(path, chosen).open(path, chosen, None)
        watch.lap("load")
        return plan(source, str(model), watch)


def _fold(model: Any, options: Mapping[str, Any]) -> FoldResult[Any]:  # noqa: ANN401 - as fold
    chosen, watch = parse_options(options), Stopwatch()
    if is_path(model):
        with loaded(Path(model), chosen) as source:
            watch.lap("load")
            return fold_in_memory(source, str(model), watch)
    if is_onnx_ir(model):
        from bnfold.api.formats.onnx_ir import fold_onnx_ir

        return fold_onnx_ir(model, chosen)
    source = format_of_object(model).format().hold(model, chosen)
    watch.lap("load")
    return fold_in_memory(source, IN_MEMORY, watch)
