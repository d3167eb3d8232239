"""`bnfold MODEL...`: the options of folding."""

from pathlib import Path
from typing import Any

import click

from bnfold.cli.bench_options import bench_options, take_bench
from bnfold.cli.completion import offer_files
from bnfold.cli.grouped import CONTEXT, GroupedCommand, options_of, refuse_with, together
from bnfold.cli.parsing import parse_index, parse_jobs, parse_output, parse_report
from bnfold.cli.request import Request
from bnfold.cli.shared_options import (
    CHECK,
    check_options,
    configuration_options,
    save_repro_option,
    screen_options,
    take_check,
    take_configuration,
    work_options,
)
from bnfold.version import __version__

_EPILOG = """\
Other commands:
  bnfold explain CODE  what a reason means, and what you can do
  bnfold verify A B  whether any two models compute the same
  ./explain, ./verify  models that are called like these commands

Exit status:
  0   folded and equal, also where there was nothing to fold
  1   the folded model does not equal the original; nothing was written
  2   the options are wrong, or the output cannot be written
  3   the model cannot be read, or is invalid
  4   a gate failed: --fail-on-kept, --max-kept or --allow-kept
  5   equality could not be checked; nothing was written
  70  a bug in bnfold
  129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM; nothing is left half done
  several models  the first that occurs of 70, 3, 2, 1, 5, 4, 0

Examples:
  bnfold model.onnx  writes model.folded.onnx
  bnfold model.onnx --dry-run -v  explains every node, writes nothing
  bnfold a.onnx b.onnx -o out --report out.json
  bnfold model.onnx --dim batch=1 --input image=photos.npy
"""

_results = options_of("Results")
_folding = options_of("What is folded")
_check = options_of("The check")
_work = options_of("How the work is done")
_gates = options_of("In a pipeline")

_result_options = together(
    _results(
        "-o",
        "--output",
        metavar="OUT",
        type=parse_output,
        shell_complete=offer_files,
        help="A file for one model, - for standard output, a folder for several.  "
        "[default: MODEL.folded.EXT beside each model]",
    ),
    _results("--in-place", is_flag=True, help="Write over the model; where -o is given, allow it to name the model."),
    _results("--dry-run", is_flag=True, help="Say what would fold and why others stay; check nothing, write no model."),
    _results(
        "--report",
        "reports",
        metavar="FILE",
        type=parse_report,
        shell_complete=offer_files,
        multiple=True,
        help="Write a report on all models, .json, .html or .sarif, or - for JSON on standard output; repeatable.",
    ),
    _results("--to", type=click.Choice(["onnx"]), help="Write ONNX, exported from the folded program of PyTorch."),
)

_folding_options = together(
    _folding("--exclude", metavar="NODE", multiple=True, help="Leave this node alone; a glob pattern; repeatable."),
    _folding(
        "--affine/--no-affine",
        default=True,
        show_default=True,
        help="Fold Mul, Add, Sub and Div by constants too, not BatchNorms alone.",
    ),
    _folding(
        "--merge-branches/--no-merge-branches",
        default=True,
        show_default=True,
        help="Make one operator of parallel branches.",
    ),
    _folding(
        "--across/--no-across",
        default=True,
        show_default=True,
        help="Fold BatchNorms across tensors that others read, which take the inverse.",
    ),
    _folding(
        "--lower",
        type=click.Choice(["conv", "affine", "add"]),
        help="Rewrite BatchNorms that stay: into a depthwise Conv, into Mul and Add, or into an Add where their scale "
        "finds another place.",
    ),
    _folding(
        "--assume-inference", is_flag=True, help="Treat BatchNorms and Dropouts that say training as inference ones."
    ),
    _folding("--keep-overridable", is_flag=True, help="Do not fold parameters that are graph inputs as well."),
    _folding(
        "--freeze-initializers",
        is_flag=True,
        help="Take initializers off the inputs of an ONNX graph, so that runtimes can optimise with them.",
    ),
)


@click.command("bnfold", cls=GroupedCommand, epilog=_EPILOG, context_settings=CONTEXT)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@_result_options
@_folding_options
@_check("--verify/--no-verify", default=True, show_default=True, help="Run both models and compare.")
@_check(
    "--on-mismatch",
    type=click.Choice(["fail", "revert"]),
    default="fail",
    show_default=True,
    help="If the check fails: write nothing, or drop the folds that are to blame and keep the rest.",
)
@save_repro_option
@check_options
@bench_options
@_work(
    "-j",
    "--jobs",
    metavar="N",
    type=parse_jobs,
    default="1",
    show_default=True,
    help="Fold N models at a time, or auto for as many as there are processors. The results are the same.",
)
@work_options
@_gates("--fail-on-kept", is_flag=True, help="Exit with 4 if a BatchNorm stays.")
@_gates("--max-kept", metavar="N", type=parse_index, help="Exit with 4 if more than N of a model stay.")
@_gates(
    "--allow-kept",
    metavar="NODE",
    multiple=True,
    help="Let it stay, and do not count it; exit with 4 if others stay, beyond --max-kept. A glob pattern; repeatable.",
)
@_gates(
    "--annotate/--no-annotate",
    default=None,
    help="Print annotations for GitHub.  [default: where GITHUB_ACTIONS=true]",
)
@configuration_options
@screen_options
@click.version_option(__version__, prog_name="bnfold", message="%(prog)s %(version)s")
@click.pass_context
def fold_command(context: click.Context, /, verify: bool, **values: Any) -> Request:  # noqa: ANN401 - of many types
    """Fold every BatchNorm of a model (ONNX, TorchScript or torch.export) that mathematics allows to fold, check that
    nothing changed, and say of each one that stays why it stays.
    """
    bench = take_bench(context, values)
    if values["dry_run"]:
        refuse_with(context, "--dry-run", ("save_repro",))
    if not verify:
        refuse_with(
            context,
            "--no-verify",
            [name for name in (*CHECK, "on_mismatch", "save_repro") if name != "provider" or not bench],
        )
    if values["quiet"]:
        refuse_with(context, "--quiet", ("verbose",))
    check, configuration = take_check(values), take_configuration(context, values)
    return Request(check=check if verify else None, bench=bench, configuration=configuration, **values)
