"""The report for programs: JSON, schema version 2, described by schema.json beside this file.

Keys may be added, none is ever renamed. Whatever is asked of a call, the top of its report is the same object. A number
that JSON cannot hold, NaN or infinity, is null, and so is a number that nobody measured.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bnfold.int8 import WeightRange
from bnfold.outcome import Apart, Fold, Kept, Lowered, Merge, Quantization, Surroundings
from bnfold.refusal import Refusal
from bnfold.report.checks import FoldCheck, fold_checks, reference
from bnfold.report.labels import operator_of
from bnfold.report.model import Environment, Failure, ReportData, Tally
from bnfold.timings import Latency
from bnfold.verification import DeploymentCheck, OutputCheck
from bnfold.version import __version__

SCHEMA_VERSION = 2

# No string of JSON has a line break in it, so this is nothing else.
_LIST_OF_NUMBERS = re.compile(r"\[\n\s*([-+.\deE]+(?:,\n\s*[-+.\deE]+)*)\n\s*\]")


def render_json(reports: Sequence[ReportData], failures: Sequence[Failure] = ()) -> str:
    """The report on a call, as one JSON object with a line break at its end.

    Args:
        reports: one per model that has one, in the order of the call.
        failures: one per model that has none.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "bnfold": __version__,
        "models": [to_dict(report) for report in reports],
        "failures": [asdict(failure) for failure in failures],
    }
    return _LIST_OF_NUMBERS.sub(_in_one_line, json.dumps(document, indent=2, allow_nan=False)) + "\n"


def to_dict(report: ReportData) -> dict[str, Any]:
    """The report on one model as values of JSON: dicts, lists, strings, finite numbers, booleans and None."""
    return {
        "schema_version": SCHEMA_VERSION,
        "bnfold": __version__,
        "input": report.input,
        "output": report.output,
        "format": report.format,
        "planned": report.planned,
        "read_as_inference": report.read_as_inference,
        "batch_norms": _tally(report.batch_norms),
        "affine_nodes": _tally(report.affine_nodes),
        "unmatched": list(report.outcome.unmatched),
        "folds": [_fold(fold) for fold in report.outcome.folds],
        "merges": [_merge(merge) for merge in report.outcome.merges],
        "apart": [_apart(apart) for apart in report.outcome.apart],
        "lowered": [_lowered(lowered) for lowered in report.outcome.lowered],
        "kept": [_kept(kept) for kept in report.outcome.kept if kept.is_batch_norm],
        "kept_affine": [_kept(kept) for kept in report.outcome.kept if not kept.is_batch_norm],
        "nodes": asdict(report.nodes),
        "parameters": asdict(report.parameters),
        "bytes": asdict(report.bytes),
        "overridable_initializers": report.overridable_initializers,
        "verification": _verification(report),
        "warnings": list(report.warnings),
        "latencies": [_latency(latency) for latency in report.latencies],
        "seconds": {stage: _number(seconds) for stage, seconds in asdict(report.seconds).items()},
        "environment": None if report.environment is None else _environment(report.environment),
    }


def _environment(environment: Environment) -> dict[str, Any]:
    return {
        "versions": dict(environment.versions),
        "options": dict(environment.options),
        "opsets": dict(environment.opsets),
        "read": [asdict(digest) for digest in environment.read],
        "written": [asdict(digest) for digest in environment.written],
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {
        "found": tally.found,
        "folded": tally.folded,
        "kept": tally.kept,
        "identities": tally.identities,
        "lowered": tally.lowered,
    }


def _fold(fold: Fold) -> dict[str, Any]:
    return {
        "node": fold.node,
        "op": fold.op,
        "tensor": fold.tensor,
        "direction": fold.direction,
        "into": list(fold.into),
        "into_ops": list(map(operator_of, fold.into)),
        "through": list(fold.through),
        "through_ops": list(map(operator_of, fold.through)),
        "amplification": _number(fold.amplification),
        "dead_channels": fold.dead_channels,
        "zero_point": _number(fold.zero_point),
        "quantization": None if fold.quantization is None else _quantization(fold.quantization),
        "added_nodes": fold.added_nodes,
        "number": fold.number,
        "surroundings": _surroundings(fold.surroundings),
    }


def _surroundings(surroundings: Surroundings | None) -> dict[str, Any] | None:
    if surroundings is None:
        return None
    scales = surroundings.scales
    return {
        "before": surroundings.before,
        "before_op": operator_of(surroundings.before),
        "behind": list(surroundings.behind),
        "behind_ops": list(map(operator_of, surroundings.behind)),
        "readers": surroundings.readers,
        "scales": None if scales is None else {name: _number(value) for name, value in asdict(scales).items()},
    }


def _merge(merge: Merge) -> dict[str, Any]:
    return {
        "node": merge.node,
        "op": operator_of(merge.node),
        "into": merge.into,
        "into_op": operator_of(merge.into),
        "gone": list(merge.gone),
        "gone_ops": list(map(operator_of, merge.gone)),
        "tensor": merge.tensor,
        "branches": merge.branches,
        "operators": asdict(merge.operators),
        "multiply_adds": asdict(merge.multiply_adds),
        "parameters": asdict(merge.parameters),
        "quantization": _quantization(merge.quantization),
    }


def _apart(apart: Apart) -> dict[str, Any]:
    return {
        "node": apart.node,
        "op": operator_of(apart.node),
        "refusals": [_refusal(refusal) for refusal in apart.refusals],
    }


def _quantization(quantization: Quantization) -> dict[str, Any]:
    return {
        "weight": quantization.weight,
        "weight_op": operator_of(quantization.weight),
        "before": _weight_range(quantization.before),
        "after": _weight_range(quantization.after),
    }


def _weight_range(weights: WeightRange) -> dict[str, Any]:
    return {
        "smallest_channel": _number(weights.smallest),
        "largest_channel": _number(weights.largest),
        "channels": [_number(float(f"{channel:.4g}")) for channel in weights.channels],
        "dead_channels": weights.dead,
        "vanishing_channels": weights.vanishing,
        "sqnr_per_tensor": _number(weights.per_tensor),
        "sqnr_per_channel": _number(weights.per_channel),
    }


def _lowered(lowered: Lowered) -> dict[str, Any]:
    return {
        "node": lowered.node,
        "op": lowered.op,
        "tensor": lowered.tensor,
        "operators": list(lowered.operators),
        "into": list(lowered.into),
        "into_ops": list(map(operator_of, lowered.into)),
        "refusals": [_refusal(refusal) for refusal in lowered.refusals],
        "number": lowered.number,
        "surroundings": _surroundings(lowered.surroundings),
    }


def _kept(kept: Kept) -> dict[str, Any]:
    """The first refusal is the entry's own: it names the node before, where a BatchNorm belongs."""
    refusals = [_refusal(refusal) for refusal in kept.refusals]
    return {
        "node": kept.node,
        "op": kept.op,
        **refusals[0],
        "refusals": refusals,
        "not_lowered": None if kept.not_lowered is None else _refusal(kept.not_lowered),
        "would_do": kept.would_do,
        "number": kept.number,
        "surroundings": _surroundings(kept.surroundings),
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "code": refusal.reason.code,
        "reason": refusal.reason.slug,
        "meaning": refusal.reason.meaning,
        "path": list(refusal.path),
        "path_ops": list(map(operator_of, refusal.path)),
        "because": refusal.evidence,
        "hint": refusal.hint,
        "readers": list(refusal.readers),
        "reader_ops": list(map(operator_of, refusal.readers)),
        "way": refusal.way,
    }


def _verification(report: ReportData) -> dict[str, Any]:
    verification = report.verification
    return {
        "status": verification.status,
        "reference": reference(report),
        "samples": verification.samples,
        "seed": verification.seed,
        "problem": verification.problem,
        "identical": verification.identical,
        "warnings": list(verification.warnings),
        "outputs": [_output(output) for output in verification.outputs],
        "folds": [_fold_check(check) for check in fold_checks(report)],
        "deployment": _deployment(verification.deployment),
    }


def _fold_check(check: FoldCheck) -> dict[str, Any]:
    """A fold that nothing shows outside a function or body has no tensors, and null for everything measured."""
    worst = check.worst
    return {
        "node": check.node,
        "tensors": list(check.tensors),
        "max_rel": None if worst is None else _number(worst.max_rel),
        "channel": None if worst is None else worst.channel,
        "noise_floor": None if worst is None else _number(worst.noise_floor),
        "excess": None if worst is None else _number(worst.excess),
        "nearer_to_float64": (worst.nearer or None) if worst is not None else None,
        "passed": worst is None or worst.passed,
        "problem": "" if worst is None else worst.problem,
    }


def _deployment(check: DeploymentCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {**asdict(check), "max_rel": _number(check.max_rel)}


def _latency(latency: Latency) -> dict[str, Any]:
    """Where nothing was measured, only what was asked for, and why."""
    asked = {
        "runtime": latency.runtime,
        "setting": latency.setting,
        "device": latency.device,
        "threads": latency.threads,
        "runs": latency.runs,
        "problem": latency.problem,
    }
    spreads = {"original": latency.original, "folded": latency.folded, "speedup": latency.speedup}
    return asked | {name: None if latency.problem else asdict(spread) for name, spread in spreads.items()}


def _output(output: OutputCheck) -> dict[str, Any]:
    return {
        "name": output.name,
        "max_abs": _number(output.max_abs),
        "max_rel": _number(output.max_rel),
        "noise_floor": _number(output.noise_floor),
        "passed": output.passed,
        "problem": output.problem,
    }


def _in_one_line(numbers: re.Match[str]) -> str:
    joined = re.sub(r",\s*", ", ", numbers[1])
    return f"[{joined}]"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
