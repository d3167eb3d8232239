"""A second opinion on two programs: their ONNX exports under onnxruntime."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import onnxruntime

from bnfold.errors import UncheckedError
from bnfold.intake import message
from bnfold.verification import Verification
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.tolerance import Verdict, judge, limits_of
from bnfold.verifier.pipeline import check
from bnfold.verifier.programs.inputs import TorchFeed
from bnfold.verifier.programs.onnx import export_onnx, with_own_names
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.result import TorchVerification
from bnfold.verifier.programs.runner import ProgramRunner
from bnfold.verifier.programs.tensors import Array, same_values, to_array

if TYPE_CHECKING:
    from bnfold.verifier.programs.float64 import Float64Reference

# Bytes of weights, with room for the rest of the model.


def with_second_opinion(
    verdict: TorchVerification,
    models: tuple[object, object],
    original: TorchProgram,
    feed: TorchFeed,
    reference: "Float64Reference",
) -> TorchVerification:
    """A verdict that passed, confirmed or refuted by onnxruntime where torch can export both programs.

    Args:
        verdict: of the comparison in torch.
        models: the programs as the caller has them.
        original: the first of them.
        feed: of both.
        reference: both in float64, for outputs in doubt.
    """
    leaves = feed.leaves(0)
    why_not = _why_not(original, leaves)
    if why_not:
        return _without(verdict, why_not)
    names = [port.name for port in feed.tensors]
    try:
        ours, theirs = (export_onnx(model, names, original.arguments(leaves)) for model in models)
        chosen = replace(feed.options, shapes={}, dims={}, inputs=_inputs(feed, ours, leaves))
        second = check(ours.SerializeToString(), with_own_names(theirs).SerializeToString(), chosen)
    except UncheckedError as error:
        return _without(verdict, str(error))
    if second.status == "unchecked":
        return _without(verdict, second.problem)
    runtimes = (*verdict.runtimes, "onnxruntime")
    if second.passed:
        return replace(verdict, runtimes=runtimes)
    if _only_outputs_differ(second) and not _doubt((ours, theirs), original, feed, reference):
        settled = "outputs under onnxruntime are beyond the original's own noise, and equal in float64"
        return replace(verdict, runtimes=runtimes, warnings=(*verdict.warnings, settled))
    return replace(verdict, status="failed", runtimes=runtimes, problem=f"under onnxruntime: {second.problem}")


def _only_outputs_differ(second: Verification) -> bool:
    return bool(second.outputs) and second.deployment is None and all(tensor.passed for tensor in second.tensors)


def _doubt(
    models: tuple[onnx.ModelProto, onnx.ModelProto],
    original: TorchProgram,
    feed: TorchFeed,
    reference: "Float64Reference",
) -> str:
    """Why float64 does not show that the exports' outputs are the same; "" where it does."""
    ours, theirs = (_session(model) for model in models)
    for sample in range(feed.samples):
        leaves = feed.leaves(sample)
        arrays = {
            port.name: to_array(_in_pairs(leaf))
            for port, leaf in zip(feed.ports, leaves, strict=True)
            if port.is_tensor
        }
        feeds = {entry.name: arrays[entry.name] for entry in ours.get_inputs()}
        names, grain = list(original.run(leaves)), ProgramRunner(original, [leaves], {}).precision
        outputs = list(zip(ours.run(None, feeds), theirs.run(None, feeds), strict=True))
        if len(outputs) != len(names):
            return "the exports return other results than the programs"
        for name, (a, b) in zip(names, outputs, strict=True):
            found = differences(a, b)
            if all(judge(entry, feed.options) is Verdict.EQUAL for entry in found):
                continue
            doubt = reference.doubt(name, names, leaves, (a, b), limits_of(found[0].dtype, grain))
            if doubt:
                return doubt
    return ""


def _session(model: onnx.ModelProto) -> Any:  # noqa: ANN401 - onnxruntime has no type hints
    """A model as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _without(verdict: TorchVerification, why: str) -> TorchVerification:
    return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {why}"))


def _why_not(original: TorchProgram, leaves: Sequence[Any]) -> str:
    """What a program does that its ONNX export does not do, or does in another order; "" if nothing."""
    if sum(tensor.numel() * tensor.element_size() for tensor in original.weights) > message.LARGEST_MESSAGE:
        return "its weights take more than the 2 GiB of one ONNX model"
    call, other = (original.calls([leaves], seed)[0] for seed in (0, 1))
    if call.changed:
        return f"the program writes to {next(iter(call.changed))!r}, and its ONNX export does not"
    drawn = (name for name, value in call.results.items() if not same_values(value, other.results.get(name)))
    name = next(drawn, None)
    return "" if name is None else f"{name!r} depends on random numbers of the program's own"


def _inputs(feed: TorchFeed, model: onnx.ModelProto, leaves: Sequence[Any]) -> dict[str, Array]:
    """The caller's values, and those of integers, whose range only the program knows."""
    fed = {entry.name for entry in model.graph.input}
    return {
        port.name: to_array(_in_pairs(leaf))
        for port, leaf in zip(feed.ports, leaves, strict=True)
        if port.is_tensor
        and port.name in fed
        and (port.name in feed.options.inputs or not (leaf.is_floating_point() or leaf.is_complex()))
    }


def _in_pairs(leaf: Any) -> Any:  # noqa: ANN401 - a tensor
    """Complex numbers as an ONNX export has them: as pairs of real ones, along one more axis."""
    import torch

    return torch.view_as_real(leaf) if leaf.is_complex() else leaf
