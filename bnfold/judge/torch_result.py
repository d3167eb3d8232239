"""The verdict of a check under torch."""

from dataclasses import dataclass

from bnfold.judge.result import Verification
from bnfold.judge.torch_sites import SiteCheck


@dataclass(frozen=True)
class TorchVerification(Verification):
    """Whether two programs of torch compute the same, and on what evidence.

    Attributes:
        runtimes: what ran both: "torch", and "onnxruntime" where torch could export both to ONNX.
        sites: one check per tensor inside that both programs make and show, in the order of the reference.
    """

    runtimes: tuple[str, ...] = ("torch",)
    sites: tuple[SiteCheck, ...] = ()
