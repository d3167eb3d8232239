"""The man page of the command, from its own help. docs/generate.py writes it to docs/bnfold.1, which is installed."""

from collections.abc import Iterator

import click

from bnfold.cli.fold_command import fold_command
from bnfold.cli.grouped import lists_of
from bnfold.cli.main import _COMMANDS
from bnfold.version import __version__


def man_page() -> str:
    """docs/bnfold.1 as text, in the man macros of roff."""
    parts = [
        f'.TH BNFOLD 1 "" "bnfold {_text(__version__)}" "User Commands"',
        ".SH NAME\nbnfold \\- fold BatchNorms out of exported neural networks",
        ".SH SYNOPSIS",
        "\n.br\n".join(f".B {_text(command.name or '')}\n{_text(_usage(command))}" for command in _commands()),
        f".SH DESCRIPTION\n{_text(_help(fold_command))}",
        *_options(fold_command, ".SH"),
    ]
    for command in _COMMANDS.values():
        title = _text((command.name or "").upper())
        parts += [f".SH {title}\n{_text(_help(command))}", *_options(command, ".SS")]
    parts += _lists(fold_command.epilog or "")
    return "\n".join(parts) + "\n"


def _commands() -> list[click.Command]:
    return [fold_command, *_COMMANDS.values()]


def _usage(command: click.Command) -> str:
    return " ".join(command.collect_usage_pieces(_context(command)))


def _help(command: click.Command) -> str:
    return " ".join((command.help or "").replace("\b", "").split())


def _context(command: click.Command) -> click.Context:
    return click.Context(command, info_name=command.name, **{**command.context_settings, "max_content_width": 10_000})


def _options(command: click.Command, heading: str) -> Iterator[str]:
    """The options by their groups, in the order of the help."""
    context = _context(command)
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            groups.setdefault(getattr(parameter, "group", "Others"), []).append(record)
    for name in sorted(groups, key="Others".__eq__):
        yield f"{heading} {_text(name.upper() if heading == '.SH' else name)}"
        yield from (f".TP\n.B {_text(names)}\n{_text(text)}" for names, text in groups[name])


def _lists(epilog: str) -> Iterator[str]:
    """What stands behind the options in the help."""
    for heading, rows in lists_of(epilog):
        yield f".SH {_text(heading.upper())}"
        yield from (f".TP\n.B {_text(term)}\n{_text(said)}".rstrip() for term, said in rows)


def _text(words: str) -> str:
    """Words as roff takes them literally."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
