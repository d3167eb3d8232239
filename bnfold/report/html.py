"""The report as a page for the browser: one file that needs no other, every name in it escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape

from bnfold.outcome import Apart, Fold, Kept, Lowered, Merge
from bnfold.report.checks import fold_checks, reference, unchanged
from bnfold.report.grouping import group_kept
from bnfold.report.html_style import STYLE
from bnfold.report.labels import all_called, called
from bnfold.report.model import Failure, Report
from bnfold.report.quantization import ADVICE, suffering
from bnfold.report.tensors import tensor_lines
from bnfold.report.wording import counted, fate, measured, overridable, printable, signed, times, timing, whole
from bnfold.verification import OutputCheck, TensorCheck
from bnfold.version import __version__

_OPEN_ROWS = 20
_WHEN = ("before", "after")


def render_html(reports: Sequence[Report], failures: Sequence[Failure] = ()) -> str:
    """One HTML page on all models of a call.

    Args:
        reports: one per model that has one, in the order of the call.
        failures: one per model that has none.
    """
    names = [*(report.input for report in reports), *(failure.input for failure in failures)]
    title = names[0] if len(names) == 1 else f"{len(names)} models"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>bnfold: {_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{''.join(map(_model, reports))}{_failures(failures)}"
        f"<footer>bnfold {_text(__version__)}</footer>\n</body>\n</html>\n"
    )


def _model(report: Report) -> str:
    kept = report.outcome.kept
    return (
        f"<article>\n{_summary(report)}{_check(report)}{_sizes(report)}"
        f"{_kept('BatchNorms that stay', [node for node in kept if node.is_batch_norm])}"
        f"{_kept('Other affine nodes that stay', [node for node in kept if not node.is_batch_norm])}"
        f"{_lowered(report.outcome.lowered)}{_folds(report)}{_merges(report.outcome.merges)}{_apart(report.outcome.apart)}{_int8(report)}</article>\n"
    )


def _summary(report: Report) -> str:
    batch_norms, others = report.batch_norms, report.affine_nodes
    lines = [
        fate(batch_norms, "BatchNorm"),
        fate(others, "other affine node"),
        "nothing was written" if report.output is None else f"written to {report.output}",
        f"{report.format}, {timing(asdict(report.seconds))}",
        *(f"warning: {warning}" for warning in report.warnings),
    ]
    return f"<h1>{_text(report.input)}</h1>\n" + "".join(f"<p>{_text(line)}</p>\n" for line in lines)


def _check(report: Report) -> str:
    verification = report.verification
    status = f'<span class="{verification.status}">{verification.status}</span>'
    drawn = f" on {counted(verification.samples, 'sample')}, seed {verification.seed}"
    lines = [f"compared with {reference(report)}"] if report.read_as_inference else []
    lines += [verification.problem] if verification.problem else []
    if verification.identical:
        lines.append(f"{unchanged(report)}, there was nothing to compare")
    lines += [f"warning: {warning}" for warning in verification.warnings]
    lines += tensor_lines(verification)
    return (
        f"<h2>Check: {status}{drawn if verification.samples else ''}</h2>\n"
        f"{''.join(f'<p>{_text(line)}</p>' for line in lines)}{_outputs(verification.outputs)}"
    )


def _outputs(outputs: Sequence[OutputCheck]) -> str:
    columns = (
        ("output", "name"),
        ("max abs", "number"),
        ("max rel", "number"),
        ("own noise", "number"),
        ("", ""),
        ("", "failed"),
    )
    rows = [
        (
            output.name,
            measured(output.max_abs),
            measured(output.max_rel),
            measured(output.noise_floor),
            "passed" if output.passed else "failed",
            output.problem,
        )
        for output in outputs
    ]
    return _table(columns, rows)


def _sizes(report: Report) -> str:
    sizes = (("nodes", report.nodes), ("parameters", report.parameters), ("bytes", report.bytes))
    rows = [(name, whole(size.before), whole(size.after), signed(size.after - size.before)) for name, size in sizes]
    columns = (("", ""), ("before", "number"), ("after", "number"), ("change", "number"))
    count = report.overridable_initializers
    note = f"<p>{_text(overridable(count))}</p>\n" if count else ""
    return f"<h2>Sizes</h2>\n{_table(columns, rows)}{note}"


def _kept(heading: str, nodes: Sequence[Kept]) -> str:
    """A table per first reason, one row per refusal."""
    if not nodes:
        return ""
    columns = (("node", "name"), ("operator", ""), ("code", "code"), ("path", "name"), ("because", ""), ("note", ""))
    groups = "".join(
        f'<h3><span class="code">{group.reason.code}</span> {group.reason.slug}: {whole(len(group.nodes))}</h3>\n'
        f'<p class="quiet">{_text(group.reason.meaning)}</p>\n'
        f"{_table(columns, [row for node in group.nodes for row in _refusal_rows(node)])}"
        for group in group_kept(nodes)
    )
    return _foldable(f"{heading}: {whole(len(nodes))}", groups, len(nodes))


def _refusal_rows(node: Kept) -> Iterable[Sequence[str]]:
    for index, refusal in enumerate(node.refusals):
        name, op, arrow = (node.node, node.op, "←") if index == 0 else ("", "", "→")
        path = " ".join(f"{arrow} {called(label)}" for label in refusal.path[1:])
        yield name, op, refusal.reason.code, path, refusal.evidence, refusal.hint


def _lowered(nodes: Sequence[Lowered]) -> str:
    """One row for each BatchNorm that other operators stand for, with why it could not fold."""
    columns = (
        ("node", "name"),
        ("operator", ""),
        ("lowered to", ""),
        ("into", "name"),
        ("code", "code"),
        ("because", ""),
    )
    rows = [
        (
            node.node,
            node.op,
            " + ".join(node.operators),
            all_called(node.into),
            node.refusals[0].reason.code,
            node.refusals[0].evidence,
        )
        for node in nodes
    ]
    return _foldable(f"Lowered: {whole(len(rows))}", _table(columns, rows), len(rows)) if rows else ""


def _folds(report: Report) -> str:
    folds = report.outcome.folds
    if not folds:
        return ""
    checks = {check.node: check.worst for check in fold_checks(report)}
    columns = (
        ("node", "name"),
        ("operator", ""),
        ("direction", ""),
        ("into", "name"),
        ("through", "name"),
        ("amplification", "number"),
        ("dead channels", "number"),
        ("max rel", "number"),
        ("of own noise", "number"),
        ("of allowed, cut out", "number"),
    )
    rows = [(*_moves(fold), *_measures(checks.get(fold.node))) for fold in folds]
    return _foldable(f"Folded: {whole(len(folds))}", _table(columns, rows), len(folds))


def _moves(fold: Fold) -> Sequence[str]:
    into, through = all_called(fold.into), all_called(fold.through)
    dead = whole(fold.dead_channels) if fold.dead_channels else ""
    return fold.node, fold.op, fold.direction, into, through, f"{fold.amplification:.3g}", dead


def _measures(check: TensorCheck | None) -> Sequence[str]:
    """What the check measured at a fold's tensor."""
    if check is None:
        return "-", "", "-"
    return measured(check.max_rel), times(check.max_rel, check.noise_floor), measured(check.excess)


def _merges(merges: Sequence[Merge]) -> str:
    columns = (
        ("tensor", "name"),
        ("into", "name"),
        ("gone", "name"),
        ("branches", "number"),
        *((f"{what} {when}", "number") for what in ("operators", "multiply-adds", "parameters") for when in _WHEN),
    )
    rows = [
        (
            merge.tensor,
            called(merge.into),
            all_called(merge.gone),
            whole(merge.branches),
            *(
                whole(size)
                for change in (merge.operators, merge.multiply_adds, merge.parameters)
                for size in (change.before, change.after)
            ),
        )
        for merge in merges
    ]
    return _foldable(f"Merged: {whole(len(rows))}", _table(columns, rows), len(rows)) if rows else ""


def _apart(apart: Sequence[Apart]) -> str:
    columns = (("sum", "name"), ("code", "code"), ("path", "name"), ("because", ""))
    rows = [
        (called(entry.node), refusal.reason.code, all_called(refusal.path), refusal.evidence)
        for entry in apart
        for refusal in entry.refusals
    ]
    return _foldable(f"Branches that stay apart: {whole(len(apart))}", _table(columns, rows), len(rows)) if rows else ""


def _int8(report: Report) -> str:
    """The weights that int8 suits much less than before."""
    found = suffering(report.outcome.folds, report.outcome.merges)
    if not found:
        return ""
    columns = (
        ("weight of", "name"),
        ("to exclude", "name"),
        *((f"channels' max |W| {when}", "number") for when in _WHEN),
        *((f"dB {when}", "number") for when in _WHEN),
        *((f"dB per channel {when}", "number") for when in _WHEN),
    )
    rows = []
    for entry in found:
        both = (entry.quantization.before, entry.quantization.after)
        ranges = [f"{weights.smallest:.3g} to {weights.largest:.3g}" for weights in both]
        per_tensor = [f"{weights.per_tensor:.1f}" for weights in both]
        per_channel = [f"{weights.per_channel:.1f}" for weights in both]
        rows.append((called(entry.weight), called(entry.node), *ranges, *per_tensor, *per_channel))
    content = f"<p>{_text(ADVICE)}</p>\n{_table(columns, rows)}"
    return _foldable(f"Weights that would lose much in int8: {whole(len(rows))}", content, len(rows))


def _foldable(heading: str, content: str, rows: int) -> str:
    """A section that starts closed where it is long."""
    state = " open" if rows <= _OPEN_ROWS else ""
    return f"<details{state}><summary><h2>{_text(heading)}</h2></summary>\n{content}</details>\n"


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    columns = (("model", "name"), ("exit code", "number"), ("", "failed"))
    rows = [(failure.input, str(failure.exit_code), failure.message) for failure in failures]
    return f"<article>\n<h1>Models without a result</h1>\n{_table(columns, rows)}</article>\n"


def _table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """A table out of (heading, class) pairs and plain text, escaped here; nothing without rows."""
    body = "".join(
        "<tr>" + "".join(_cell("td", text, kind) for text, (_, kind) in zip(row, columns, strict=True)) + "</tr>\n"
        for row in rows
    )
    if not body:
        return ""
    head = "".join(_cell("th", heading, kind) for heading, kind in columns)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _cell(tag: str, text: str, kind: str) -> str:
    return f'<{tag} class="{kind}">{_text(text)}</{tag}>' if kind else f"<{tag}>{_text(text)}</{tag}>"


def _text(text: str) -> str:
    return escape(printable(text))
