"""What onnxruntime says of two programs of PyTorch that torch found equal: their exports to ONNX, on the samples.

Another runtime with kernels of its own is another witness. What it cannot be asked is said in a warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx
import torch

from bnfold.api.formats.own_names import with_own_names
from bnfold.errors import InvalidOriginalError, UncheckedError, UnsupportedModelError
from bnfold.frontends.onnx_export import export_as_written
from bnfold.intake import message
from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier import check
from bnfold.verifier.programs.inputs import TorchFeed, choose_feed, inputs_named
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.parts.graph import Unreadable
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import to_array

_SAMPLES = 2
"""Torch has compared all of them."""


def confirmed_by_onnxruntime(
    verdict: Verification, reference: object, program: object, how: VerifyOptions
) -> Verification:
    """A verdict that passed in torch, confirmed or refuted by onnxruntime where torch can export both programs.

    Args:
        verdict: of the comparison in torch; one that did not pass stays as it is.
        reference: the original.
        program: the new program.
        how: options of that comparison.
    """
    if not verdict.passed:
        return verdict
    try:
        return _Exports.of(reference, program, how).confirm(verdict)
    except _Impossible as why:
        return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {why}"))


class _Impossible(Exception):  # noqa: N818 - a warning, not an error
    """Why the exports cannot be compared."""


@dataclass(frozen=True)
class _Exports:
    """Both programs as ONNX models of one shape.

    Attributes:
        original, new: the exports; they have no name of a tensor in common.
        feed: of both programs.
    """

    original: onnx.ModelProto
    new: onnx.ModelProto
    feed: TorchFeed

    @classmethod
    def of(cls, reference: object, program: object, how: VerifyOptions) -> "_Exports":
        original = open_program("the original", reference, inputs_named(how))
        feed = choose_feed(original, how)
        leaves = feed.leaves(0)
        _require_that_it_fits(reference)
        _require_that_an_export_does_the_same(original, leaves)
        arguments = original.arguments(leaves)
        try:
            ours, theirs = (export_as_written(model, arguments) for model in (reference, program))
        except UnsupportedModelError as error:
            raise _Impossible(str(error)) from error
        return cls(ours, with_own_names(theirs), feed)

    def confirm(self, verdict: Verification) -> Verification:
        """The verdict, with what onnxruntime says of the exports."""
        samples = min(_SAMPLES, self.feed.samples)
        how = replace(self.feed.options, shapes={}, dims={}, inputs=self._inputs(), samples=samples)
        try:
            second = check(self.original.SerializeToString(), self.new.SerializeToString(), how)
        except (InvalidOriginalError, UncheckedError) as error:
            raise _Impossible(str(error)) from error
        if second.status == "unchecked":
            raise _Impossible(second.problem)
        if second.passed:
            return replace(verdict, deployment=second.deployment)
        return replace(verdict, status="failed", problem=f"under onnxruntime: {second.problem}")

    def _inputs(self) -> dict[str, Any]:
        """The caller's values, and those of integers, whose range only the program knows."""
        taken = {entry.name for entry in self.original.graph.input}
        leaves = zip(self.feed.ports, self.feed.leaves(0), strict=True)
        fed = {port.name: to_array(_in_pairs(leaf)) for port, leaf in leaves if port.is_tensor and port.name in taken}
        given = self.feed.options.inputs
        return {name: array for name, array in fed.items() if name in given or array.dtype.kind != "f"}


def _require_that_it_fits(program: Any) -> None:  # noqa: ANN401 - one of two classes
    state = program.state_dict() if isinstance(program, torch.nn.Module) else program.state_dict
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > message.LARGEST_MESSAGE:
        raise _Impossible("its weights take more than the 2 GiB of one ONNX model")


def _require_that_an_export_does_the_same(original: TorchProgram, leaves: Sequence[Any]) -> None:
    """Refuse a program that does what its export does not, or in another order.

    Raises:
        _Impossible: it is such.
    """
    changed = original.calls([leaves])[0].changed
    if changed:
        raise _Impossible(f"the program writes to {next(iter(changed))!r}, and its ONNX export does not")
    try:
        drawn = [node.op for node in original.graph().nodes if node.is_random]
    except Unreadable as error:
        raise _Impossible(f"nothing says whether the program draws random numbers: {error}") from error
    if drawn:
        raise _Impossible(f"{drawn[0]} draws random numbers, and its ONNX export draws others")


def _in_pairs(leaf: torch.Tensor) -> torch.Tensor:
    """Complex numbers as an ONNX export has them: as pairs of real ones, along one more axis."""
    return torch.view_as_real(leaf) if leaf.is_complex() else leaf
