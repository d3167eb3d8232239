"""The answer to "same results?" in words, and what it rests on, for every form of the report."""

import math
from collections.abc import Sequence
from typing import Literal

from bnfold.keywords import keyword
from bnfold.report.checks import reference, unchanged
from bnfold.report.model import ReportData
from bnfold.report.wording import brief, counted, printable, whole
from bnfold.verification import DeploymentCheck, OutputCheck, TensorCheck, Verification

Grade = Literal["good", "weak", "bad"]
_MOST_PROBLEMS = 3


def answer_of(verification: Verification) -> tuple[str, Grade]:
    """Whether the results are the same, in a word or some, and how good that is."""
    match verification.status:
        case "passed" if not verification.warnings:
            return "yes", "good"
        case "passed":
            return f"yes, with {counted(len(verification.warnings), 'warning')}", "weak"
        case "partial":
            return "yes, in parts", "weak"
        case "failed":
            return "NO", "bad"
        case "unchecked":
            return "not known", "weak"
        case "skipped":
            return "not checked", "weak"


def evidence_of(report: ReportData) -> list[str]:
    """The same on a fold, in a few sentences."""
    lines = evidence(report.verification, unchanged(report))
    if report.read_as_inference and report.verification.passed and not report.verification.identical:
        lines.append(f"compared with {reference(report)}, as {keyword('assume_inference', True)} asks")
    return lines


def evidence(verification: Verification, unchanged: str) -> list[str]:
    """What the answer rests on, or what is wrong; nothing where nobody looked.

    Args:
        verification: the verdict.
        unchanged: what is said where both models are the same.
    """
    if verification.status == "skipped":
        return []
    if verification.identical:
        return [f"{unchanged}, there was nothing to compare"]
    if not verification.passed:
        return _problems(verification)
    return [_outputs_in_short(verification), *_places(verification.tensors), *_deployed(verification.deployment)]


def _problems(verification: Verification) -> list[str]:
    """What is wrong as a whole, and the first outputs that are wrong."""
    lines = [printable(verification.problem)] if verification.problem else []
    wrong = [
        f"output {printable(each.name)!r}: {printable(problem_of(each))}"
        for each in verification.outputs
        if not each.passed
    ]
    hidden = len(wrong) - _MOST_PROBLEMS
    lines += [line for line in wrong[:_MOST_PROBLEMS] if line not in lines]
    return lines + ([f"and {counted(hidden, 'more output')}"] if hidden > 0 else [])


def problem_of(output: OutputCheck) -> str:
    """What is wrong with an output that did not pass."""
    return output.problem or "beyond the tolerance"


def steps_after_a_failure(report: ReportData) -> str:
    """What somebody can ask for whose fold failed the check, and has not: "on_mismatch='revert' keeps what passes"."""
    if report.verification.status != "failed":
        return ""
    asked = dict(report.environment.options) if report.environment is not None else {}
    steps = []
    if asked.get("on_mismatch") != "revert":
        steps.append(f"{keyword('on_mismatch', 'revert')} keeps what passes")
    if not asked.get("save_repro"):
        steps.append(f"{keyword('save_repro', 'DIR')} saves what differs")
    return "; ".join(steps)


def _outputs_in_short(verification: Verification) -> str:
    """Such as "6 inputs; largest difference 4.1e-07 (rounding: 1.9e-07)", in units of the output's size."""
    inputs = counted(verification.samples, "input")
    worst = max(verification.outputs, key=lambda output: _number(output.max_rel), default=None)
    if worst is None:
        return inputs
    if not worst.max_rel:
        return f"{inputs}; every output is the same to the last bit"
    noise = max((_number(output.noise_floor) for output in verification.outputs), default=0.0)
    beside = f" (rounding: {brief(noise)})" if noise else ""
    return f"{inputs}; largest difference {brief(worst.max_rel)}{beside}"


def _places(tensors: Sequence[TensorCheck]) -> list[str]:
    """Such as "59 changes checked one by one, all within rounding"; of which not all could be, how many could."""
    if not tensors:
        return []
    alone = sum(not math.isnan(tensor.excess) for tensor in tensors)
    every = counted(len(tensors), "change")
    if not alone:
        return [f"{every} compared inside the model"]
    return [
        f"{every if alone == len(tensors) else f'{whole(alone)} of {every}'} checked one by one, all within rounding"
    ]


def _deployed(check: DeploymentCheck | None) -> list[str]:
    if check is None:
        return []
    note = f" ({printable(check.note)})" if check.note else ""
    provider = printable(check.provider.removesuffix("ExecutionProvider"))
    return [f"equal with onnxruntime's optimisations on ({provider}), too{note}"]


def _number(value: float) -> float:
    """0 for what was not measured."""
    return 0.0 if math.isnan(value) else value
