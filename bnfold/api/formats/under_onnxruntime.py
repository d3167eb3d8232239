"""What onnxruntime says of two programs of PyTorch that torch found equal: their exports to ONNX, on the samples.

Another runtime with kernels of its own is another witness. What it cannot be asked is said in a warning.
"""

from collections.abc import Iterator, Sequence
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
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.tolerance import Verdict, judge, limits_of
from bnfold.verifier.models.load import Model
from bnfold.verifier.programs.float64 import Float64Reference
from bnfold.verifier.programs.inputs import TorchFeed, choose_feed, inputs_named
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.parts.graph import Unreadable
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import to_array
from bnfold.verifier.run.session import Session

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
    """Both programs, and both as ONNX models of one shape.

    Attributes:
        programs: as torch runs them.
        feed: of both.
        models: the exports; they have no name of a tensor in common.
    """

    programs: tuple[TorchProgram, TorchProgram]
    feed: TorchFeed
    models: tuple[onnx.ModelProto, onnx.ModelProto]

    @classmethod
    def of(cls, reference: object, program: object, how: VerifyOptions) -> "_Exports":
        named = inputs_named(how)
        original = open_program("the original", reference, named)
        feed = choose_feed(original, how)
        leaves = feed.leaves(0)
        _require_that_it_fits(reference)
        _require_that_an_export_does_the_same(original, leaves)
        arguments = original.arguments(leaves)
        try:
            ours, theirs = (export_as_written(model, arguments) for model in (reference, program))
        except UnsupportedModelError as error:
            raise _Impossible(str(error)) from error
        return cls((original, open_program("the new program", program, named)), feed, (ours, with_own_names(theirs)))

    def confirm(self, verdict: Verification) -> Verification:
        """The verdict, with what onnxruntime says of the exports."""
        ours, theirs = (model.SerializeToString() for model in self.models)
        samples = min(_SAMPLES, self.feed.samples)
        how = replace(self.feed.options, shapes={}, dims={}, inputs=self._inputs(), samples=samples)
        try:
            second = check(ours, theirs, how)
        except (InvalidOriginalError, UncheckedError) as error:
            raise _Impossible(str(error)) from error
        if second.status == "unchecked":
            raise _Impossible(second.problem)
        if second.passed:
            return replace(verdict, deployment=second.deployment)
        if second.outputs and second.deployment is None and not self._doubt():
            settled = "outputs under onnxruntime are beyond the original's own noise, and equal in float64"
            return replace(verdict, warnings=(*verdict.warnings, settled))
        return replace(verdict, status="failed", problem=f"under onnxruntime: {second.problem}")

    def _inputs(self) -> dict[str, Any]:
        """The caller's values, and those of integers, whose range only the program knows."""
        return {
            name: array
            for name, array in self._fed(0).items()
            if name in self.feed.options.inputs or array.dtype.kind != "f"
        }

    def _fed(self, sample: int) -> dict[str, Any]:
        names = {entry.name for entry in self.models[0].graph.input}
        leaves = zip(self.feed.ports, self.feed.leaves(sample), strict=True)
        return {port.name: to_array(_in_pairs(leaf)) for port, leaf in leaves if port.is_tensor and port.name in names}

    def _doubt(self) -> str:
        """Why float64 does not show that the exports' outputs are the same; "" where it does."""
        reference = Float64Reference(*self.programs, equal=None)
        sessions = [Session(Model("an export", model)) for model in self.models]
        for sample in range(self.feed.samples):
            made = [session.run(self._fed(sample)) for session in sessions]
            for doubt in self._doubts(reference, self.feed.leaves(sample), made[0], made[1]):
                return doubt
        return ""

    def _doubts(
        self, reference: Float64Reference, leaves: Sequence[Any], ours: Sequence[object], theirs: Sequence[object]
    ) -> Iterator[str]:
        names, precision = list(self.programs[0].calls([leaves])[0].results), self.programs[0].precision(leaves)
        if len(ours) != len(names):
            yield "the exports return other results than the programs"
            return
        for name, a, b in zip(names, ours, theirs, strict=True):
            found = differences(a, b)
            if not all(judge(entry, self.feed.options) is Verdict.EQUAL for entry in found):
                said = reference.compare(name, leaves, (a, b), limits_of(found[0].dtype, precision))
                yield from filter(None, [said.doubt])


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
