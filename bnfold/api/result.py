"""What a fold gives back."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from bnfold.report.readable import Report

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    M_co = TypeVar("M_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    M_co = TypeVar("M_co", covariant=True)


@dataclass(frozen=True, repr=False)
class FoldResult(Generic[M_co]):
    """A folded model and what was done to it.

    Attributes:
        model: of the kind that was given: an onnx.ModelProto, onnx_ir.Model, torch.jit.ScriptModule or
            torch.export.ExportedProgram; of a path, the kind that the file holds.
        report: every fold, every node that stays and why, the verdict of the check.
    """

    model: M_co
    report: Report

    def save(self, path: str | os.PathLike[str], *, in_place: bool = False) -> None:
        """Write the model: whole or not at all, with external data beside it where a message of protobuf is too small.

        Args:
            path: the file, over a link to what it links to; a device or a pipe is written through.
            in_place: whether that may be the file that was folded.

        Raises:
            UsageError: it cannot be written, is the file that was folded, or is called like a file of another format.
        """
        from bnfold.api.saving import save_model

        save_model(self.model, os.fspath(path), self.report.input, in_place=in_place)

    def __repr__(self) -> str:
        return f"<FoldResult: {self.report.summary}; a {type(self.model).__name__}>"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()
