"""What the check found inside the graph, in a few lines."""

import math

from bnfold.report.checks import worst_of
from bnfold.report.wording import counted, measured, percent, times, whole
from bnfold.verification import DeploymentCheck, TensorCheck, Verification


def tensor_lines(verification: Verification) -> list[str]:
    """The places where the models part, the worst of them, and the run at default settings."""
    lines = []
    tensors = verification.tensors
    if tensors:
        passed = sum(tensor.passed for tensor in tensors)
        lines.append(f"{whole(passed)} of {counted(len(tensors), 'changed tensor')} equal inside the graph")
        worst = worst_of(tensors)
        if worst is not None:
            lines.append(_worst(worst))
    if verification.deployment is not None:
        lines.append(_deployment(verification.deployment))
    return lines


def _worst(tensor: TensorCheck) -> str:
    if not tensor.passed:
        return f"worst: {tensor.name}: {tensor.problem}"
    channel = "" if tensor.channel is None else f", channel {tensor.channel}"
    return f"worst: {tensor.name}{channel}: {measured(tensor.max_rel)} of its scale{_beside(tensor)}"


def _beside(tensor: TensorCheck) -> str:
    """What the difference is held against: the limit where the place was run by itself, else the original's noise."""
    if not math.isnan(tensor.excess):
        return f"; run by itself, at {percent(tensor.excess)} of what rounding allows"
    noise = times(tensor.max_rel, tensor.noise_floor)
    return f", {noise} its own noise" if noise else ""


def _deployment(check: DeploymentCheck) -> str:
    if check.problem:
        return f"at default settings ({check.provider}): {check.problem}"
    note = f", {check.note}" if check.note else ""
    return f"at default settings ({check.provider}): max rel {measured(check.max_rel)}{note}"
