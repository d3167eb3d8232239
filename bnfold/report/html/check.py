"""What the check measured: outputs, and every fold against its limit and against rounding."""

import math
from collections.abc import Callable, Sequence

from bnfold.report.checks import reference
from bnfold.report.evidence import problem_of
from bnfold.report.html.entries import Entry, Subject
from bnfold.report.html.markup import paragraph, table, text
from bnfold.report.html.plots import Marks, plot
from bnfold.report.wording import counted, measured
from bnfold.verification import DeploymentCheck, OutputCheck, TensorCheck


def check(subject: Subject) -> str:
    """Figures of the check; nothing where nothing was compared."""
    verification = subject.report.verification
    if not verification.outputs and not verification.tensors:
        return ""
    drawn = f"{counted(verification.samples, 'input')}, seed {verification.seed}"
    said = f"The folded model beside {reference(subject.report)}, on {drawn}. Differences in units of the largest."
    return (
        f"{paragraph(said, 'quiet')}{_outputs(verification.outputs)}{_deployed(verification.deployment)}"
        f"{_plots(subject)}{_closest(subject)}{_wrong(subject)}"
    )


def _deployed(check: DeploymentCheck | None) -> str:
    if check is None:
        return ""
    found = check.problem or f"max rel {measured(check.max_rel)}{f', {check.note}' if check.note else ''}"
    return paragraph(f"With onnxruntime's optimisations on ({check.provider}): {found}")


def _closest(subject: Subject) -> str:
    """The fold that came nearest to its limit, as a link."""
    passed = [(worst.excess, entry, worst) for entry in subject.entries if (worst := _worst(entry)) and worst.passed]
    shares = [found for found in passed if not math.isnan(found[0])]
    if not shares:
        return ""
    share, entry, worst = max(shares, key=lambda found: found[0])
    channel = "" if worst.channel is None else f", in channel {worst.channel}"
    return (
        f'<p>Closest to its limit: <a href="#{entry.anchor}">{text(entry.node.node)}</a> at {share:.0%}{channel}. '
        "Up to 100% is rounding.</p>\n"
    )


def _outputs(outputs: Sequence[OutputCheck]) -> str:
    columns = (
        ("output", "name"),
        ("max abs", "number"),
        ("max rel", "number"),
        ("rounding alone", "number"),
        ("", "result"),
    )
    rows = [
        (
            output.name,
            measured(output.max_abs),
            measured(output.max_rel),
            measured(output.noise_floor),
            "passed" if output.passed else f"failed: {problem_of(output)}",
        )
        for output in outputs
    ]
    return table(columns, rows)


def _plots(subject: Subject) -> str:
    """Two axes, because the limit belongs to parts cut out, whose errors are other than those in the model."""
    found = [worst for entry in subject.entries if (worst := _worst(entry)) is not None]
    if not found:
        return ""
    by_limit = [Marks("error of the part cut out, 1 is its limit", "dot", _points(found, _share))]
    in_model = [
        Marks("rounding of the original alone", "dash", _points(found, lambda check: check.noise_floor)),
        Marks("error", "dot", _points(found, lambda check: check.max_rel if check.passed else math.nan)),
        Marks("error of a fold that failed", "cross", _points(found, _error_of_failed)),
    ]
    shares = plot(by_limit, "errors by their limits", subject.columns, (1.0, "limit"))
    errors = plot(in_model, "errors and rounding inside the model", subject.columns)
    order = paragraph(f"{counted(len(found), 'fold')} in the order of the graph, from left to right.", "quiet")
    return (
        f'<div class="plots">{_figure("Each fold by itself: share of its limit", shares)}'
        f"{_figure('Each fold in the model: error and rounding', errors)}</div>\n{order}"
    )


def _figure(title: str, drawn: str) -> str:
    return f"<figure><figcaption>{title}</figcaption>{drawn}</figure>" if drawn else ""


def _share(check: TensorCheck) -> float:
    return check.excess if check.passed else math.nan


def _error_of_failed(check: TensorCheck) -> float:
    return math.nan if check.passed else check.max_rel


def _points(checks: Sequence[TensorCheck], figure: Callable[[TensorCheck], float]) -> list[tuple[float, float] | None]:
    """A figure of each, where it was measured."""
    values = map(figure, checks)
    return [None if math.isnan(value) else (value, value) for value in values]


def _worst(entry: Entry) -> TensorCheck | None:
    return None if entry.check is None else entry.check.worst


def _wrong(subject: Subject) -> str:
    """Every place inside that is not what it was, those of no fold as well."""
    rows = [
        (tensor.name, "" if tensor.channel is None else str(tensor.channel), measured(tensor.max_rel), tensor.problem)
        for tensor in subject.report.verification.tensors
        if not tensor.passed
    ]
    return table((("tensor", "name"), ("channel", "number"), ("max rel", "number"), ("", "result")), rows)
