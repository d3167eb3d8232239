"""The report for code scanning: SARIF 2.1.0, with one result for every BatchNorm that stays.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0. What GitHub shows of it: SARIF support
for code scanning, docs.github.com. It wants a line of every place, and a model has none: it is line 1.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from bnfold.explanations import EXPLANATIONS
from bnfold.explanations.explanation import in_words
from bnfold.outcome import Kept
from bnfold.refusal import Reason
from bnfold.report.model import Failure, ReportData
from bnfold.report.verdicts import needs_a_person, verdict_of
from bnfold.version import __version__

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render_sarif(reports: Sequence[ReportData], failures: Sequence[Failure] = ()) -> str:
    """The report on a call, as one SARIF log with a line break at its end.

    Args:
        reports: one per model that has one, in the order of the call.
        failures: one per model that has none.
    """
    kept = [(report, node) for report in reports for node in report.outcome.kept if node.is_batch_norm]
    reasons = sorted({refusal.reason for _, node in kept for refusal in node.refusals}, key=lambda each: each.code)
    failed = [report for report in reports if report.verification.status in ("failed", "unchecked")]
    document = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(reasons)},
                "invocations": [_invocation(failed, failures)],
                "results": [_result(report, node, reasons) for report, node in kept],
                "columnKind": "unicodeCodePoints",
            }
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


@cache
def _documentation() -> str:
    """Where the documentation of the installed package is, ending in a slash; "" where its metadata does not say."""
    with suppress(PackageNotFoundError):
        for entry in metadata("bnfold").get_all("Project-URL") or ():
            label, _, address = entry.partition(", ")
            if label.lower() == "documentation":
                return f"{address.rstrip('/')}/"
    return ""


def _driver(reasons: Sequence[Reason]) -> dict[str, Any]:
    driver = {"name": "bnfold", "version": __version__, "rules": list(map(_rule, reasons))}
    home = _documentation()
    return {**driver, "informationUri": home} if home else driver


def _rule(reason: Reason) -> dict[str, Any]:
    explanation = EXPLANATIONS[reason]
    text, advice = in_words(explanation.text), in_words(explanation.advice)
    rule = {
        "id": reason.code,
        "name": reason.slug,
        "shortDescription": {"text": reason.meaning},
        "fullDescription": {"text": text},
        "help": {"text": f"{text} {advice}", "markdown": f"{text}\n\nWhat you can do: {advice}"},
        "defaultConfiguration": {"level": "warning" if explanation.remedy else "note"},
    }
    home = _documentation()
    return {**rule, "helpUri": f"{home}refusals/#{reason.code.lower()}"} if home else rule


def _result(report: ReportData, node: Kept, reasons: Sequence[Reason]) -> dict[str, Any]:
    first = node.refusals[0]
    why = "; ".join(f"{refusal.evidence} ({refusal.reason.code})" for refusal in node.refusals)
    return {
        "ruleId": first.reason.code,
        "ruleIndex": reasons.index(first.reason),
        "level": "warning" if needs_a_person(node) else "note",
        "message": {"text": f"{node.op} '{node.node}' {verdict_of(node)}: {why}"},
        "locations": [
            {
                **_place(report.input),
                "logicalLocations": [{"name": node.node, "fullyQualifiedName": node.node, "kind": "member"}],
            }
        ],
        "partialFingerprints": {"bnfold/v1": _fingerprint(report.input, node)},
        "properties": {"codes": [refusal.reason.code for refusal in node.refusals]},
    }


def _place(path: str) -> dict[str, Any]:
    """A file as a relative or absolute reference of URIs, whatever is in its name."""
    uri = quote(PurePath(path).as_posix(), safe="/:" if PurePath(path).drive else "/")
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}


def _fingerprint(path: str, node: Kept) -> str:
    """The same for one node that stays for one reason, in every run."""
    return sha256("\n".join([path, node.node, node.refusals[0].reason.code]).encode(errors="replace")).hexdigest()


def _invocation(failed: Sequence[ReportData], failures: Sequence[Failure]) -> dict[str, Any]:
    """Whether all went well, and what did not."""
    told = [(report.input, report.verification.problem or "the check failed") for report in failed]
    told += [(failure.input, failure.message) for failure in failures]
    return {
        "executionSuccessful": not told,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": message}, "locations": [_place(path)]} for path, message in told
        ],
    }
