"""Options of more than one command: of the check, of the process that does the work, and of what is printed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from bnfold.cli.grouped import options_of, together
from bnfold.cli.parsing import (
    by_name,
    parse_count,
    parse_dimension,
    parse_index,
    parse_input,
    parse_shape,
    parse_size,
    parse_time_limit,
    parse_tolerance,
)
from bnfold.cli.request import CheckRequest

F = TypeVar("F", bound=Callable[..., Any])

CHECK = ("samples", "seed", "rtol", "atol", "dims", "inputs", "provider", "memory", "custom_ops")
"""Parameters that only a check has; shapes have another meaning without one."""

_check = options_of("The check")
_limits = options_of("How the work is done")
_printed = options_of("What is printed")

check_options = together(
    _check(
        "--input",
        "inputs",
        metavar="NAME=FILE",
        type=parse_input,
        multiple=True,
        callback=by_name,
        help="Real samples of an input, .npy or .npz; repeatable.",
    ),
    _check(
        "--shape",
        "shapes",
        metavar="NAME=1,3,224,224",
        type=parse_shape,
        multiple=True,
        callback=by_name,
        help="Shape of an input; repeatable. TorchScript is folded by it, checked or not.",
    ),
    _check(
        "--dim",
        "dims",
        metavar="NAME=4",
        type=parse_dimension,
        multiple=True,
        callback=by_name,
        help="Size of a symbolic dimension; repeatable.",
    ),
    _check(
        "--samples",
        metavar="N",
        type=parse_count,
        default="6",
        show_default=True,
        help="Input draws to compare.",
    ),
    _check("--seed", metavar="N", type=parse_index, default="0", show_default=True, help="Seed of those draws."),
    _check(
        "--rtol",
        metavar="X",
        type=parse_tolerance,
        help="Tolerated difference, relative.  [default: by the model's types]",
    ),
    _check(
        "--atol",
        metavar="X",
        type=parse_tolerance,
        help="Tolerated difference, absolute.  [default: by the model's types]",
    ),
    _check(
        "--provider",
        metavar="NAME",
        default="CPUExecutionProvider",
        show_default=True,
        help="Execution provider of onnxruntime for the run at its default settings.",
    ),
    _check(
        "--verify-memory",
        "memory",
        metavar="SIZE",
        type=parse_size,
        default="2GiB",
        show_default=True,
        help="Memory for the tensors inside the graph while they are compared.",
    ),
    _check(
        "--custom-ops",
        metavar="LIB",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, resolve_path=True),
        help="A library of operators for onnxruntime, which runs its code; repeatable.",
    ),
)

save_repro_option = _check(
    "--save-repro",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="If the check fails: put what differs into DIR, with a script that shows it with onnxruntime alone.",
)

work_options = together(
    _limits(
        "--import",
        "imports",
        metavar="PACKAGE",
        multiple=True,
        help="Import it before a program of PyTorch is read, and allow its operators; repeatable.",
    ),
    _limits(
        "--time-limit",
        metavar="SECONDS",
        type=parse_time_limit,
        help="Processor time for one step, such as one run of the model.  [default: by the model's size]",
    ),
    _limits(
        "--memory-limit",
        metavar="SIZE",
        type=parse_size,
        help="Memory to read, fold and check one model, such as 2GiB or 500MB.  [default: by the model's size]",
    ),
)

_configuration = options_of("Configuration")


def _without_file(context: click.Context, _option: click.Parameter, without: bool) -> bool:
    if without and context.params.get("config") is not None:
        raise click.UsageError("--config and --no-config contradict each other: give one of them")
    return without


def _with_file(context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Take the defaults out of a file, which may have options of the other commands, too: the context's object."""
    if context.resilient_parsing:  # a shell completes what is typed
        return None
    if context.params.get("no_config"):
        if path is not None:
            raise click.UsageError("--config and --no-config contradict each other: give one of them")
        return None
    from bnfold.cli.configuration import nearest, read_file, take_over

    found = nearest(Path.cwd()) if path is None else read_file(path)
    if found is not None:
        take_over(context, found, context.obj or ())
    return path


configuration_options = together(
    _configuration(
        "--no-config",
        is_flag=True,
        is_eager=True,
        callback=_without_file,
        help="Read no configuration.",
    ),
    _configuration(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        is_eager=True,
        callback=_with_file,
        help="Options by their long names, in TOML.  [default: bnfold.toml, or [tool.bnfold] of pyproject.toml, of "
        "the current folder or the nearest above]",
    ),
)


screen_options = together(
    _printed("-q", "--quiet", is_flag=True, help="Print errors and warnings only."),
    _printed("-v", "--verbose", is_flag=True, help="Print every node, every reason and every figure."),
)


def take_configuration(context: click.Context, values: dict[str, Any]) -> tuple[str, ...]:
    """What is told of the configuration to those who want all; its options are taken out of the values."""
    from bnfold.cli.configuration import told

    del values["config"], values["no_config"]
    return tuple(told(context))


def take_check(values: dict[str, Any]) -> CheckRequest:
    """What the check was asked, taken out of the values of a command line; the shapes stay in them."""
    taken: Mapping[str, Any] = {name: values.pop(name) for name in CHECK}
    return CheckRequest(shapes=values["shapes"], **taken)
