"""A model that does not run, and what it would need."""

from dataclasses import dataclass

from bnfold.errors import UncheckedError


@dataclass(frozen=True)
class Lacking:
    """What onnxruntime does not have: an operator, a kernel for the types of a node, or a way to run a node at all.

    Attributes:
        domain: of the operator, "" for ONNX's own.
        op_type: its name.
        node: the name of the node; "" for all of this operator.
        knows_operator: whether it has the operator, and only this node does not run.
        what: as messages call it.
    """

    domain: str
    op_type: str
    node: str
    knows_operator: bool
    what: str

    def __str__(self) -> str:
        return self.what


class RefusedError(UncheckedError):
    """A model is not taken, or not on these inputs.

    Attributes:
        is_invalid: whether the model itself is to blame, and not what this onnxruntime knows or was fed with.
        lacking: what onnxruntime lacks, or the node that it stopped at, where it says so.
    """

    def __init__(self, message: str, *, is_invalid: bool = False, lacking: Lacking | None = None) -> None:
        super().__init__(message)
        self.is_invalid, self.lacking = is_invalid, lacking
