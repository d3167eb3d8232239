"""Options out of a file: bnfold.toml, or [tool.bnfold] of pyproject.toml, of the current folder or the nearest above.

The command line wins over the file, and the file over the defaults. A file in some folder above must not run code or
write over models, so what does that is for the command line alone.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

_OWN = "bnfold.toml"
_SHARED = "pyproject.toml"
_PLACE = "bnfold.configuration"
_COMMAND_LINE_ALONE = {
    "output": "it says where a file is written",
    "in_place": "it lets models be written over",
    "save_repro": "it says where files are written",
    "imports": "it runs code",
    "custom_ops": "it runs code",
    "dry_run": "it is for one call",
    "quiet": "it is for one call",
    "verbose": "it is for one call",
    "config": "this is the configuration",
    "no_config": "this is the configuration",
    "version": "it is a question",
    "help": "it is a question",
}


@dataclass(frozen=True)
class Configuration:
    """What a file says.

    Attributes:
        path: of the file.
        table: options by their names, as TOML has them.
    """

    path: Path
    table: Mapping[str, Any]


def read_file(path: Path) -> Configuration:
    """A file that was asked for.

    Raises:
        click.UsageError: it cannot be read, is not TOML, or is a pyproject.toml without [tool.bnfold].
    """
    table = _table(path)
    if table is None:
        raise click.UsageError(f"{path}: there is no [tool.bnfold] in it")
    return Configuration(path, table)


def nearest(folder: Path) -> Configuration | None:
    """The file that counts in a folder: of it, or of the nearest folder above that has one.

    Raises:
        click.UsageError: it cannot be read, or is not TOML.
    """
    for place in (folder, *folder.parents):
        for name in (_OWN, _SHARED):
            path = place / name
            if path.is_file():
                table = _table(path)
                if table is not None:
                    return Configuration(path, table)
    return None


def _table(path: Path) -> Mapping[str, Any] | None:
    """What is said of bnfold; None of a pyproject.toml that does not speak of it."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"{path} is no TOML: {error} (--no-config leaves it alone)") from error
    tool = document.get("tool")
    table = document if path.name != _SHARED else tool.get("bnfold") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise click.UsageError(f"{path}: [tool.bnfold] must be a table, got {table!r}")
    return table


def take_over(context: click.Context, found: Configuration, others: Sequence[click.Command]) -> None:
    """Let what a file says be the defaults of a command.

    Args:
        context: of the command.
        found: the file.
        others: commands whose options the file may have as well.

    Raises:
        click.UsageError: an option is unknown, may not be in a file, or has a wrong value.
    """
    own = _options(context.command)
    known = {**{name: option for command in others for name, option in _options(command).items()}, **own}
    defaults: dict[str, Any] = {}
    for name, value in found.table.items():
        option = known.get(name)
        if option is None or option.name is None:
            raise click.UsageError(f"{found.path}: unknown option {name!r}, {_meant(name, known)}")
        if option.name in _COMMAND_LINE_ALONE:
            why = _COMMAND_LINE_ALONE[option.name]
            raise click.UsageError(f"{found.path}: {name!r} is for the command line alone, because {why}")
        typed = _as_typed(option, name, value, found)
        if name in own:
            defaults[option.name] = typed
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta[_PLACE] = found


def _meant(name: str, known: Mapping[str, click.Option]) -> str:
    names = sorted(name for name, option in known.items() if option.name not in _COMMAND_LINE_ALONE)
    near = get_close_matches(name.removeprefix("no-").replace("_", "-"), names)
    return f"expected {' or '.join(near)}" if near else f"expected one of {', '.join(names)}"


def _options(command: click.Command) -> dict[str, click.Option]:
    """By the name that a file has for them: "max-kept"; of a pair such as --affine and --no-affine, "affine"."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {_name_of(option): option for option in options}


def _name_of(option: click.Option) -> str:
    """Such as "max-kept"."""
    return next(name[2:] for name in option.opts if name.startswith("--"))


def _as_typed(option: click.Option, name: str, value: Any, found: Configuration) -> Any:  # noqa: ANN401 - values of TOML
    """A value as the command line has it, looked at now so that an error names the file."""
    if option.is_flag != isinstance(value, bool):
        expected = "true or false" if option.is_flag else "a value"
        raise click.UsageError(f"{found.path}: {name}: got {value!r}, expected {expected}")
    if option.is_flag:
        return value
    texts = [_relative(option, text, found) for text in _texts(value)]
    if not option.multiple and len(texts) != 1:
        raise click.UsageError(f"{found.path}: {name}: got {value!r}, expected one value")
    typed = tuple(texts) if option.multiple else texts[0]
    try:
        option.type_cast_value(click.Context(click.Command("bnfold")), typed)
    except click.BadParameter as error:
        raise click.UsageError(f"{found.path}: {name}: {error.message}") from error
    return typed


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - values of TOML
    """A value, the values of a list, or of a table NAME=VALUE each."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield f"{name}={','.join(map(str, entry)) if isinstance(entry, list) else entry}"
    else:
        yield from map(str, value if isinstance(value, list) else [value])


def _relative(option: click.Option, text: str, found: Configuration) -> str:
    """Paths in a file are relative to its folder."""
    if option.name == "inputs":
        name, equals, path = text.partition("=")
        return f"{name}{equals}{found.path.parent / path}"
    return str(found.path.parent / text) if option.name == "reports" and text != "-" else text


def told(context: click.Context) -> list[str]:
    """One line on the file that counts, what it says, and what the command line says instead; none without a file."""
    found: Configuration | None = context.meta.get(_PLACE)
    if found is None:
        return []
    lines = []
    for name, option in _options(context.command).items():
        if name in found.table and option.name is not None:
            lost = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
            lines.append(f"{name} = {_shown(found.table[name])}{', but the command line wins' if lost else ''}")
    return [f"options of {found.path}: {'; '.join(lines) or 'none for this command'}"]


def _shown(value: Any) -> str:  # noqa: ANN401 - values of TOML
    return str(value).lower() if isinstance(value, bool) else repr(value)
