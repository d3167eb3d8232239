"""`bnfold verify A B`: whether any two models compute the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bnfold.cli.grouped import CONTEXT, GroupedCommand, options_of, refuse_with
from bnfold.cli.request import VerifyRequest
from bnfold.cli.shared_options import (
    check_options,
    configuration_options,
    save_repro_option,
    screen_options,
    take_check,
    take_configuration,
    work_options,
)

_EPILOG = """\
Exit status:
  0   equal, also where every changed part is equal and the rest cannot be run
  1   B does not equal A, or does not load
  2   the options are wrong
  3   a model cannot be read, or A is invalid
  5   equality could not be checked

Examples:
  bnfold verify model.onnx model.simplified.onnx
  bnfold verify a.pt2 b.pt2 --samples 20
  bnfold verify a.onnx b.onnx --no-same-names  where a tool gave names to other tensors
"""

_check = options_of("The check")


@click.command("bnfold verify", cls=GroupedCommand, epilog=_EPILOG, context_settings=CONTEXT)
@click.argument("a", metavar="A", type=click.Path(readable=False, path_type=Path))
@click.argument("b", metavar="B", type=click.Path(readable=False, path_type=Path))
@_check(
    "--same-names/--no-same-names",
    default=True,
    show_default=True,
    help="A tensor of one name in both models must hold the same values.",
)
@_check(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Judge parts that differ on values of the check's own choice as well, where no sample goes.",
)
@save_repro_option
@check_options
@work_options
@configuration_options
@screen_options
@click.pass_context
def verify_command(context: click.Context, /, a: Path, b: Path, **values: Any) -> VerifyRequest:  # noqa: ANN401 - of many types
    """Compare two models, whoever made B from A: both of ONNX, or both programs of PyTorch. They are run on the same
    inputs, and every part in which they differ is compared by itself.
    """
    if values["quiet"]:
        refuse_with(context, "--quiet", ("verbose",))
    check = replace(take_check(values), probe=values.pop("probe"), same_names=values.pop("same_names"))
    del values["shapes"]  # which the check has
    return VerifyRequest(a=a, b=b, check=check, configuration=take_configuration(context, values), **values)
