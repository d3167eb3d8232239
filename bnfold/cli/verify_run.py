"""Carries `bnfold verify` out: one comparison, one answer."""

from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.mistaken import check_is_file
from bnfold.cli.request import VerifyRequest
from bnfold.cli.samples import verify_options
from bnfold.cli.screen import Screen
from bnfold.errors import ModelFormatError, UncheckedError


def run_verify(request: VerifyRequest, screen: Screen) -> ExitCode:
    """Compare two models.

    Raises:
        BnfoldError: as `bnfold.api.verifying.verifying_files`.
    """
    from bnfold.api import FoldOptions
    from bnfold.api.verifying import verifying_files
    from bnfold.guard import Limits, finish

    options = FoldOptions(verify=verify_options(request.check), imports=request.imports, save_repro=request.save_repro)
    limits = Limits(request.time_limit, request.memory_limit)
    for path in (request.a, request.b):
        try:
            check_is_file(path)
        except ModelFormatError as error:
            return screen.complain_of(error, path)
    try:
        with screen.progress(1) as progress, progress.of(request.b) as step:
            verdict = finish(verifying_files(request.a, request.b, options, progress=step, limits=limits))
    except UncheckedError as error:  # which is about the original
        return screen.complain_of(error, request.a)
    screen.show_verdict(verdict, str(request.a), str(request.b))
    if verdict.passed:
        return ExitCode.DONE
    return ExitCode.UNCHECKED if verdict.status == "unchecked" else ExitCode.VERIFICATION_FAILED
