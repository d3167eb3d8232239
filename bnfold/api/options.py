"""What the caller may ask of a fold, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bnfold.errors import UsageError
from bnfold.report.model import Report
from bnfold.verification import VerifyOptions

IN_MEMORY = "<memory>"


@dataclass(frozen=True)
class FoldOptions:
    """What to fold and how to check it.

    Attributes:
        affine: fold Mul, Add, Sub and Div by constants as well, not BatchNorms alone.
        merge_branches: merge parallel branches that are linear in one tensor into one operator.
        across: fold BatchNorms across tensors that others read; those readers take the inverse.
        exclude: glob patterns of node names to leave alone.
        assume_inference: treat BatchNorms with training_mode=1 as inference ones.
        keep_overridable: leave parameters alone that are also graph inputs.
        freeze_initializers: take initializers of ONNX models off the graph inputs, so that runtimes can optimise with
            them; from IR version 4 on, before which they are constants anyway.
        verify: how to check the result; None skips the check.
        on_mismatch: what to do if the check fails: "fail" gives nothing, "revert" drops the folds that are to blame and
            keeps the rest.
        shapes: of the inputs of a program, by name, where `verify` is None: TorchScript says no shapes, and folding it
            needs them.
        imports: packages to import before a program of PyTorch is read; it may use what they register beside
            torch's own operators and classes, and nothing else.
        to: "onnx" to get a program of PyTorch as an ONNX model, exported after folding; "" for the model's own format.
        digests: let the report name the files of the model and of the result by their SHA-256.
    """

    affine: bool = True
    merge_branches: bool = True
    across: bool = True
    exclude: tuple[str, ...] = ()
    assume_inference: bool = False
    keep_overridable: bool = False
    freeze_initializers: bool = False
    verify: VerifyOptions | None = field(default_factory=VerifyOptions)
    on_mismatch: Literal["fail", "revert"] = "fail"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    to: Literal["", "onnx"] = ""
    digests: bool = False

    @property
    def feeding(self) -> VerifyOptions:
        """What a program is run on: what the check would feed it."""
        return self.verify or VerifyOptions(shapes=self.shapes)

    def __post_init__(self) -> None:
        if isinstance(self.exclude, str):
            raise UsageError(f"exclude must be a sequence of patterns, got the string {self.exclude!r}")
        if isinstance(self.imports, str):
            raise UsageError(f"imports must be a sequence of packages, got the string {self.imports!r}")
        if self.keep_overridable and self.freeze_initializers:
            raise UsageError("keep_overridable and freeze_initializers contradict each other: give one of them")
        if self.on_mismatch not in ("fail", "revert"):
            raise UsageError(f"on_mismatch must be 'fail' or 'revert', got {self.on_mismatch!r}")
        if self.to not in ("", "onnx"):
            raise UsageError(f"to must be 'onnx' or nothing, got {self.to!r}")


@dataclass(frozen=True)
class FoldResult:
    """A folded model and what was done to it.

    Attributes:
        model: of the kind that was given: an onnx.ModelProto, onnx_ir.Model, torch.jit.ScriptModule or
            torch.export.ExportedProgram; of a path, the kind that the file holds.
        report: every fold, every node that stays and why, the verdict of the check.
    """

    model: Any
    report: Report


def parse_options(given: dict[str, Any]) -> FoldOptions:
    """Keyword arguments as options.

    Raises:
        UsageError: one is unknown.
    """
    try:
        return FoldOptions(**given)
    except TypeError as error:
        raise UsageError(f"unknown option: {error}") from error
