"""The `bnfold` command. Nothing heavy is imported here: --help and --version must answer at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.parsing import (
    by_name,
    parse_dimension,
    parse_input,
    parse_jobs,
    parse_output,
    parse_report,
    parse_shape,
    parse_size,
    parse_tolerance,
)
from bnfold.cli.screen import Screen
from bnfold.cli.spelling import as_option
from bnfold.cli.stopping import stop_of, stopped_by_signals
from bnfold.cli.streams import takes_standard_output
from bnfold.keywords import spelled
from bnfold.version import __version__

if TYPE_CHECKING:
    from bnfold.cli.request import Request

_EPILOG = """\b
Exit status (of several models, the first of 70, 3, 2, 1, 5, 4, 0):
  0   folded and equal, also where there was nothing to fold
  1   the folded model does not equal the original; nothing was written
  2   the options are wrong, or the output cannot be written
  3   the model cannot be read, or is invalid
  4   a BatchNorm stays, and --fail-on-kept is given
  5   equality could not be checked; nothing was written
  70  a bug in bnfold
  129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM; nothing is left half done

\b
Examples:
  bnfold model.onnx                        writes model.folded.onnx
  bnfold model.onnx --dry-run -v           explains every node, writes nothing
  bnfold a.onnx b.onnx -o out --report out.json
  bnfold model.onnx --dim batch=1 --input image=photos.npy
"""

_CHECK_OPTIONS = (
    "samples",
    "seed",
    "rtol",
    "atol",
    "dims",
    "inputs",
    "provider",
    "memory",
    "custom_ops",
    "on_mismatch",
)


@click.command("bnfold", epilog=_EPILOG, context_settings={"max_content_width": 100})
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.option(
    "-o",
    "output",
    metavar="OUT",
    type=parse_output,
    help="A file for one model, - for standard output, a folder for several.  "
    "[default: MODEL.folded.EXT beside each model]",
)
@click.option("--in-place", is_flag=True, help="Let OUT be the model itself; without -o, it is.")
@click.option("--dry-run", is_flag=True, help="Plan and explain; write and check no model.")
@click.option(
    "--report",
    "reports",
    metavar="FILE",
    type=parse_report,
    multiple=True,
    help="Write a report on all models, .json or .html, or - for JSON on standard output; repeatable.",
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Run both models and compare.")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=FILE",
    type=parse_input,
    multiple=True,
    callback=by_name,
    help="Real samples of an input, .npy or .npz; repeatable.",
)
@click.option(
    "--shape",
    "shapes",
    metavar="NAME=1,3,224,224",
    type=parse_shape,
    multiple=True,
    callback=by_name,
    help="Shape of an input; repeatable. TorchScript is folded by it, checked or not.",
)
@click.option(
    "--dim",
    "dims",
    metavar="NAME=4",
    type=parse_dimension,
    multiple=True,
    callback=by_name,
    help="Size of a symbolic dimension; repeatable.",
)
@click.option(
    "--samples", metavar="N", type=click.IntRange(min=1), default=6, show_default=True, help="Input draws to compare."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of those draws."
)
@click.option(
    "--rtol", metavar="X", type=parse_tolerance, help="Tolerated difference, relative.  [default: by the model's types]"
)
@click.option(
    "--atol", metavar="X", type=parse_tolerance, help="Tolerated difference, absolute.  [default: by the model's types]"
)
@click.option(
    "--provider",
    metavar="NAME",
    default="CPUExecutionProvider",
    show_default=True,
    help="Execution provider of onnxruntime for the run at its default settings.",
)
@click.option(
    "--verify-memory",
    "memory",
    metavar="SIZE",
    type=parse_size,
    default="2GiB",
    show_default=True,
    help="Memory for the tensors inside the graph while they are compared.",
)
@click.option(
    "--custom-ops",
    metavar="LIB",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="A library of operators for onnxruntime, which runs its code; repeatable.",
)
@click.option(
    "--on-mismatch",
    type=click.Choice(["fail", "revert"]),
    default="fail",
    show_default=True,
    help="If the check fails: write nothing, or drop the folds that are to blame and keep the rest.",
)
@click.option(
    "--import",
    "imports",
    metavar="PACKAGE",
    multiple=True,
    help="Import it before a program of PyTorch is read, and allow its operators; repeatable.",
)
@click.option("--exclude", metavar="NODE", multiple=True, help="Leave this node alone; a glob pattern; repeatable.")
@click.option(
    "--affine/--no-affine",
    default=True,
    show_default=True,
    help="Fold Mul, Add, Sub and Div by constants too, not BatchNorms alone.",
)
@click.option(
    "--merge-branches/--no-merge-branches",
    default=True,
    show_default=True,
    help="Merge parallel branches that are linear in one tensor into one operator.",
)
@click.option(
    "--across/--no-across",
    default=True,
    show_default=True,
    help="Fold BatchNorms across tensors that others read, which take the inverse.",
)
@click.option(
    "--assume-inference", is_flag=True, help="Treat BatchNorms and Dropouts that say training as inference ones."
)
@click.option("--keep-overridable", is_flag=True, help="Do not fold parameters that are graph inputs as well.")
@click.option(
    "--freeze-initializers",
    is_flag=True,
    help="Take initializers off the inputs of an ONNX graph, so that runtimes can optimise with them.",
)
@click.option("--to", type=click.Choice(["onnx"]), help="Write ONNX, exported from the folded program of PyTorch.")
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Processor time for one step, such as one run of the model.  [default: by the model's size]",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    type=parse_size,
    help="Memory to read, fold and check one model.  [default: by the model's size]",
)
@click.option(
    "-j",
    "--jobs",
    metavar="N",
    type=parse_jobs,
    default="1",
    show_default=True,
    help="Fold N models at a time, or auto for as many as there are processors. The results are the same.",
)
@click.option("--fail-on-kept", is_flag=True, help="Exit with 4 if a BatchNorm stays.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
@click.option("-v", "--verbose", is_flag=True, help="Print every node and every reason.")
@click.version_option(__version__, prog_name="bnfold", message="%(prog)s %(version)s")
@click.pass_context
def _command(
    context: click.Context,
    /,
    models: tuple[Path, ...],
    verify: bool,
    samples: int,
    seed: int,
    rtol: float | None,
    atol: float | None,
    shapes: dict[str, tuple[int, ...]],
    dims: dict[str, int],
    inputs: dict[str, Path],
    provider: str,
    memory: int,
    custom_ops: tuple[str, ...],
    **others: Any,  # noqa: ANN401 - the fields of Request, of as many types
) -> "Request":
    """Fold every BatchNorm of a model (ONNX, TorchScript or torch.export) that mathematics allows to fold, check that
    nothing changed, and say of each one that stays why it stays.
    """
    from bnfold.cli.request import CheckRequest, Request

    if not verify:
        _refuse_with(context, "--no-verify", _CHECK_OPTIONS)
    if others["quiet"]:
        _refuse_with(context, "--quiet", ("verbose",))
    check = (
        CheckRequest(samples, seed, rtol, atol, shapes, dims, inputs, provider, memory, custom_ops) if verify else None
    )
    return Request(models=models, check=check, shapes=shapes, **others)


def _refuse_with(context: click.Context, flag: str, names: Sequence[str]) -> None:
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(parameter for parameter in context.command.params if parameter.name == name)
            raise click.UsageError(f"{option.opts[-1]} means nothing with {flag}: leave one of them out")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        The exit status, see `ExitCode`.
    """
    with stopped_by_signals(), spelled(as_option):
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> ExitCode:
    screen = Screen()
    try:
        request = _command.main(arguments, prog_name="bnfold", standalone_mode=False)
        if isinstance(request, int):  # --help or --version, which are done by now
            return ExitCode.DONE
        from bnfold.cli.run import run

        written = [*request.reports, *([] if request.output is None else [Path(request.output)])]
        screen = Screen(quiet=request.quiet, verbose=request.verbose, aside=takes_standard_output(written))
        return run(request, screen)
    except click.ClickException as error:
        screen.complain(f"{error.format_message().rstrip('.')} (see bnfold --help)")
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort) as error:
        code, how = stop_of(error)
        screen.complain(how)
        return code
    except Exception as error:
        return screen.complain_of(error)
