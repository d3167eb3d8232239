"""What mypy sees of the Python API: checked by mypy alone, and never run. An ignore that is not needed is an error."""

from pathlib import Path

import onnx
import torch
from torch.export import ExportedProgram
from typing_extensions import assert_type

import bnfold


def kinds(proto: onnx.ModelProto, script: torch.jit.ScriptModule, program: ExportedProgram) -> None:
    """A model is answered in kind, a program by ONNX where that is asked for."""
    assert_type(bnfold.fold(proto).model, onnx.ModelProto)
    assert_type(bnfold.fold(script, affine=False).model, torch.jit.ScriptModule)
    assert_type(bnfold.fold(program).model, ExportedProgram)
    assert_type(bnfold.fold(program, to="onnx").model, onnx.ModelProto)
    assert_type(bnfold.fold(script, to="onnx").model, onnx.ModelProto)
    result: bnfold.FoldResult = bnfold.fold("model.onnx")
    assert_type(result.report, bnfold.Report)
    assert_type(bnfold.fold(Path("model.onnx"), exclude=["a*"], shapes={"x": (1, 3)}).report.to_json(), str)


def verdicts(proto: onnx.ModelProto) -> None:
    """Checks."""
    bnfold.fold(proto, verify=True)
    bnfold.fold(proto, verify=None)
    bnfold.fold(proto, verify=bnfold.VerifyOptions(samples=2))
    assert_type(bnfold.verify("a.onnx", proto, samples=2).passed, bool)
    assert_type(bnfold.explain("a.onnx", across=False), bnfold.Report)
    bnfold.fold_file("a.onnx", "b.onnx", to="onnx", in_place=True)


def mistakes(proto: onnx.ModelProto) -> None:
    """What an editor should underline."""
    bnfold.fold(proto, afine=False)  # type: ignore[call-overload]
    bnfold.fold(proto, affine="no")  # type: ignore[call-overload]
    bnfold.fold(3)  # type: ignore[call-overload]
    bnfold.verify("a.onnx", "b.onnx", sample=2)  # type: ignore[call-arg]
    bnfold.explain("a.onnx", to="json")  # type: ignore[arg-type]
