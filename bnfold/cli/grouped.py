"""Options in groups, so that a long help can be read: what belongs together stands together, under a heading."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

HELP_NAMES = ("-h", "--help")
CONTEXT = {"max_content_width": 100, "help_option_names": list(HELP_NAMES)}
_OTHERS = "Others"


class GroupedOption(click.Option):
    """An option that stands under a heading in the help.

    Args:
        group: the heading.
    """

    def __init__(self, *args: Any, group: str, **settings: Any) -> None:  # noqa: ANN401 - those of click.Option
        super().__init__(*args, **settings)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help shows its options by their groups, in the order in which these first occur."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(context):
            record = option.get_help_record(context) if isinstance(option, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(option, "group", _OTHERS), []).append(record)
        for heading in sorted(groups, key=_OTHERS.__eq__):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See click.Command. What stands behind the options is wrapped as they are."""
        for heading, rows in lists_of(self.epilog or ""):
            with formatter.section(heading):
                formatter.write_dl(rows)


def lists_of(epilog: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The lists that an epilog is made of.

    Args:
        epilog: paragraphs, each of a heading that ends in a colon and of lines: a term, two blanks or more, what is
            said of it. A line may be a term alone.

    Yields:
        Each heading, without the colon, and its terms with what is said of them.
    """
    for paragraph in filter(None, epilog.strip().split("\n\n")):
        heading, *lines = paragraph.split("\n")
        rows = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines]
        yield heading.removesuffix(":"), [(row[0], row[1] if len(row) > 1 else "") for row in rows]


def options_of(group: str) -> "partial[Callable[[F], F]]":
    """click.option for one group."""
    return partial(click.option, cls=GroupedOption, group=group)


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order in the help."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def refuse_with(context: click.Context, flag: str, names: Sequence[str]) -> None:
    """Raise click.UsageError where one of these parameters is on the command line, which mean nothing with a flag."""
    for option in _given(context, names):
        raise click.UsageError(f"{option} means nothing with {flag}: leave one of them out")


def refuse_without(context: click.Context, flag: str, names: Sequence[str]) -> None:
    """Raise click.UsageError where one of these parameters is on the command line, which need a flag."""
    for option in _given(context, names):
        raise click.UsageError(f"{option} means nothing without {flag}: add that, or leave this out")


def _given(context: click.Context, names: Sequence[str]) -> Iterator[str]:
    """Those of the parameters that somebody typed, as options are spelled."""
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            yield next(parameter for parameter in context.command.params if parameter.name == name).opts[-1]
