"""Options in groups, so that a long help can be read: what belongs together stands together, under a heading."""

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
