"""Annotations: lines that GitHub's runners show beside a file, with the way out of what went wrong.

Source: Workflow commands for GitHub Actions, docs.github.com; what is escaped is as in actions/toolkit, command.ts.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from bnfold.report.wording import counted, one_line, printable

if TYPE_CHECKING:
    from bnfold.report.readable import Report

Level = Literal["notice", "warning", "error"]


def are_wanted(asked: bool | None) -> bool:
    """Whether to print annotations: where somebody asks, or where GitHub's runners run the call."""
    return os.environ.get("GITHUB_ACTIONS") == "true" if asked is None else asked


def annotation(level: Level, path: object, title: str, message: str) -> str:
    """One annotation of a file, as a line with its line break."""
    where = ",".join(f"{name}={_property(value)}" for name, value in (("file", str(path)), ("title", title)))
    return f"::{level} {where}::{_escaped(printable(one_line(message)))}\n"


def of_kept(report: "Report") -> Iterator[str]:
    """One annotation for all BatchNorms that stay with one verdict: runners show ten of a kind."""
    from bnfold.report.grouping import group_by_verdict
    from bnfold.report.verdicts import needs_a_person, obstacle, verdict_of, ways_of

    for nodes in group_by_verdict(node for node in report.outcome.kept if node.is_batch_norm):
        first = nodes[0]
        level: Level = "warning" if needs_a_person(first) else "notice"
        why = "; ".join(f"{obstacle(refusal)} ({refusal.reason.code})" for refusal in ways_of(first))
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        title = f"{counted(len(nodes), 'BatchNorm')} {'stays' if len(nodes) == 1 else 'stay'}"
        yield annotation(level, report.input, title, f"{verdict_of(first)}: {first.node}{more}: {why}")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(printable(text)).replace(":", "%3A").replace(",", "%2C")
