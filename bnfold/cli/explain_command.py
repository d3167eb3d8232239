"""`bnfold explain CODE`: what a reason means, with an example and what a person can do."""

import shutil
import textwrap
from difflib import get_close_matches
from operator import attrgetter

import click
from click.shell_completion import CompletionItem

from bnfold.cli.grouped import CONTEXT, GroupedCommand
from bnfold.explanations import EXPLANATIONS, FAMILIES, MAP
from bnfold.explanations.explanation import in_words
from bnfold.refusal import Reason

_NARROWEST, _WIDEST = 40, 100
_SUCH_AS = ("BNF201", "other-consumers")
_ENOUGH = 3
"""Letters of a name that tell something: "shift" is part of one, "a" of most."""


def _fitting(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Codes that begin so, or names where no code does."""
    for names in ({reason.code: reason for reason in Reason}, {reason.slug: reason for reason in Reason}):
        fitting = sorted(name for name in names if name.lower().startswith(begun.lower()))
        if fitting:
            return [CompletionItem(name, help=names[name].meaning) for name in fitting]
    return []


@click.command("bnfold explain", cls=GroupedCommand, context_settings=CONTEXT)
@click.argument("codes", metavar="[CODE...]", nargs=-1, shell_complete=_fitting)
def explain_command(codes: tuple[str, ...]) -> str:
    """Say what a code means, such as BNF201 or other-consumers, with an example and what you can do about it; without a
    code, list all of them.
    """
    reasons = [_reason(code) for code in codes]
    return "\n".join(map(_in_full, reasons)) if reasons else _all()


def _reason(code: str) -> Reason:
    """The reason that is called so, by its code, the number in it, or its name."""
    wanted = code.lower().removeprefix("bnf")
    for reason in Reason:
        if wanted in (reason.code.lower().removeprefix("bnf"), reason.slug):
            return reason
    known = [name for reason in Reason for name in (reason.code, reason.slug)]
    near = [name for name in known if len(wanted) > _ENOUGH and wanted in name.lower()] or get_close_matches(
        code.lower() if "-" in code else code.upper(), known
    )
    raise click.UsageError(
        f"got {code!r}, expected a code such as {', '.join(near or _SUCH_AS)}: bnfold explain lists all of them"
    )


def _in_full(reason: Reason) -> str:
    explanation = EXPLANATIONS[reason]
    parts = [
        _wrapped(f"{reason.code} {reason.slug}: {reason.meaning}", 0),
        _wrapped(in_words(explanation.text), 2),
        f"  Before\n{_wrapped(in_words(explanation.before), 4)}\n  After\n{_wrapped(in_words(explanation.after), 4)}",
        f"  What you can do\n{_wrapped(in_words(explanation.advice), 4)}",
    ]
    return "\n\n".join(parts) + "\n"


def _all() -> str:
    parts = [f"{_wrapped(MAP, 0)}\n"]
    for prefix, title in FAMILIES.items():
        members = sorted((reason for reason in Reason if reason.code.startswith(prefix)), key=attrgetter("code"))
        lines = [_wrapped(f"{reason.code} {reason.slug}: {reason.meaning}", 2, 9) for reason in members]
        parts.append("\n".join([title, *lines]) + "\n")
    return "\n".join([*parts, "bnfold explain CODE says more.\n"])


def _wrapped(text: str, indent: int, further: int = 0) -> str:
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    first, others = " " * indent, " " * (indent + further)
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
