"""verify: whether two models compute the same."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from bnfold.api.formats.large_onnx import require_serialisable
from bnfold.api.formats.protocol import Source
from bnfold.api.formats.registry import ONNX, FormatRow, format_of_object
from bnfold.api.opening import is_path, loaded, row_of
from bnfold.api.options import FoldOptions, parse_verify_options
from bnfold.api.typed import VerifyKeywords, with_keywords_of
from bnfold.errors import UsageError
from bnfold.verification import Verification, VerifyOptions

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from typing_extensions import Unpack

    from bnfold.verifier import ModelSource

    Comparable = str | os.PathLike[str] | bytes | onnx.ModelProto | torch.jit.ScriptModule | ExportedProgram


@with_keywords_of(VerifyOptions)
def verify(a: "Comparable", b: "Comparable", **options: "Unpack[VerifyKeywords]") -> Verification:
    """Whether two models compute the same.

    Args:
        a: the reference: a path, serialised bytes of ONNX, an onnx.ModelProto, a torch.jit.ScriptModule or a
            torch.export.ExportedProgram. Where neither the caller nor a script says the shapes of its inputs, they are
            found as for `fold`, and a warning names them.
        b: the model to judge.
        **options: the fields of `VerifyOptions`.

    Raises:
        UsageError: an option is unknown or out of range; a model of ONNX cannot be compared with a program of PyTorch.
        ModelFormatError: a file is not there, or is a program that cannot be read.
        InvalidOriginalError: the reference is no valid model.
        UncheckedError: the reference does not run, or memory ran out.
    """
    chosen = parse_verify_options(options)
    rows = [_row(model) for model in (a, b)]
    if ONNX not in rows:
        return _verify_programs((a, rows[0]), (b, rows[1]), chosen)
    if rows != [ONNX, ONNX]:
        raise UsageError(f"cannot compare {rows[0].called} with {rows[1].called}: export both to ONNX, with to='onnx'")
    from bnfold.verifier import check, verdict_if_identical

    ours, theirs = map(_serialised, (a, b))
    return verdict_if_identical(ours, theirs, chosen) or check(ours, theirs, chosen)


def _row(model: Any) -> FormatRow:  # noqa: ANN401 - as verify
    if is_path(model):
        return row_of(Path(model))
    return ONNX if isinstance(model, (bytes, onnx.ModelProto)) else format_of_object(model)


def _verify_programs(a: tuple[Any, FormatRow], b: tuple[Any, FormatRow], how: VerifyOptions) -> Verification:
    from bnfold.api.formats.programs import verify_programs

    with ExitStack() as stack:
        reference = stack.enter_context(_held(*a, FoldOptions(verify=how)))
        return verify_programs(reference, stack.enter_context(_held(*b, reference.options)))


@contextmanager
def _held(model: Any, row: FormatRow, options: FoldOptions) -> Iterator[Source]:  # noqa: ANN401 - as verify
    if not is_path(model):
        yield row.format().hold(model, options)
        return
    with loaded(Path(model), options) as source:
        yield source


def _serialised(model: Any) -> "ModelSource":  # noqa: ANN401 - as verify
    if not isinstance(model, onnx.ModelProto):
        given: ModelSource = model
        return given
    require_serialisable(model)
    data: bytes = model.SerializeToString()
    return data
