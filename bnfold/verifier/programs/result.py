"""The verdict of a check under torch."""

from dataclasses import dataclass

from bnfold.verification import Verification


@dataclass(frozen=True)
class TorchVerification(Verification):
    """Whether two programs of torch compute the same, and on what evidence.

    Attributes:
        runtimes: what ran both: "torch", and "onnxruntime" where torch could export both to ONNX.
    """

    runtimes: tuple[str, ...] = ("torch",)
