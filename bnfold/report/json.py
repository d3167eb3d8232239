"""The report for programs: JSON, schema version 1. Keys may be added, none is ever renamed.

A number that JSON cannot hold, NaN or infinity, is null, and so is a number that nobody measured. No check compares
single folds yet: "folds" of the verification is empty.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bnfold.judge.result import OutputCheck, Verification
from bnfold.plan import Fold, Kept
from bnfold.refusal import Refusal
from bnfold.report.model import Failure, Report, Tally
from bnfold.version import __version__

SCHEMA_VERSION = 1


def render_json(report: Report) -> str:
    """The report on one model, as a JSON object with a line break at its end."""
    return _dump(to_dict(report))


def render_json_of_several(reports: Sequence[Report], failures: Sequence[Failure] = ()) -> str:
    """The reports on several models as one JSON object: "reports" as in `to_dict`, and "failures".

    Args:
        reports: one per model that could be read, in the order of the call.
        failures: one per model that could not.
    """
    return _dump(
        {
            "schema_version": SCHEMA_VERSION,
            "bnfold": __version__,
            "reports": [to_dict(report) for report in reports],
            "failures": [asdict(failure) for failure in failures],
        }
    )


def to_dict(report: Report) -> dict[str, Any]:
    """The report as values that JSON can hold: dicts, lists, strings, finite numbers, booleans and None."""
    return {
        "schema_version": SCHEMA_VERSION,
        "bnfold": __version__,
        "input": report.input,
        "output": report.output,
        "format": report.format,
        "batch_norms": _tally(report.batch_norms),
        "affine_nodes": _tally(report.affine_nodes),
        "folds": [_fold(fold) for fold in report.outcome.folds],
        "kept": [_kept(kept) for kept in report.outcome.kept if kept.is_batch_norm],
        "kept_affine": [_kept(kept) for kept in report.outcome.kept if not kept.is_batch_norm],
        "nodes": asdict(report.nodes),
        "parameters": asdict(report.parameters),
        "bytes": asdict(report.bytes),
        "verification": _verification(report.verification),
        "seconds": {stage: _number(seconds) for stage, seconds in asdict(report.seconds).items()},
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"found": tally.found, "folded": tally.folded, "kept": tally.kept}


def _fold(fold: Fold) -> dict[str, Any]:
    return {
        "node": fold.node,
        "op": fold.op,
        "tensor": fold.tensor,
        "direction": fold.direction,
        "into": list(fold.into),
        "through": list(fold.through),
        "amplification": _number(fold.amplification),
    }


def _kept(kept: Kept) -> dict[str, Any]:
    """The first refusal is the entry's own: it names the node before, where a BatchNorm belongs."""
    refusals = [_refusal(refusal) for refusal in kept.refusals]
    return {"node": kept.node, "op": kept.op, **refusals[0], "refusals": refusals}


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "code": refusal.reason.code,
        "reason": refusal.reason.slug,
        "meaning": refusal.reason.meaning,
        "path": list(refusal.path),
        "because": refusal.evidence,
        "hint": refusal.hint,
    }


def _verification(verification: Verification) -> dict[str, Any]:
    return {
        "status": verification.status,
        "samples": verification.samples,
        "seed": verification.seed,
        "problem": verification.problem,
        "warnings": list(verification.warnings),
        "outputs": [_output(output) for output in verification.outputs],
        "folds": [],
    }


def _output(output: OutputCheck) -> dict[str, Any]:
    return {
        "name": output.name,
        "max_abs": _number(output.max_abs),
        "max_rel": _number(output.max_rel),
        "noise_floor": _number(output.noise_floor),
        "passed": output.passed,
        "problem": output.problem,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
