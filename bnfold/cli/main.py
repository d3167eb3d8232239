"""The `bnfold` command. Nothing heavy is imported here: --help and --version must answer at once."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bnfold.cli.completion import VARIABLE, complete
from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.explain_command import explain_command
from bnfold.cli.fold_command import fold_command
from bnfold.cli.mistaken import told_shorter
from bnfold.cli.request import Request, VerifyRequest
from bnfold.cli.screen import Screen
from bnfold.cli.spelling import as_option
from bnfold.cli.stopping import Stopped, stop_of, stop_within, stopped_by_signals
from bnfold.cli.streams import takes_standard_output
from bnfold.cli.verify_command import verify_command
from bnfold.keywords import spelled

_COMMANDS = {"explain": explain_command, "verify": verify_command}
"""By their first word; everything else is a model to fold."""
_FIRST_STEPS = """\
Fold the BatchNorms of a model as far as mathematics allows, check that nothing
changed, and say why others stay.

  bnfold model.onnx                writes model.folded.onnx
  bnfold model.onnx --dry-run -v   what it would do and why; writes nothing
  bnfold explain BNF201            what a reason means
  bnfold verify a.onnx b.onnx      whether two models compute the same
  bnfold --help                    all options
"""
"""For whoever types the name alone."""
_CONFIGURED = (fold_command, verify_command)
"""Commands whose options a file may have: one file serves both."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        The exit status, see `ExitCode`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = _COMMANDS.get(given[0], fold_command) if given else fold_command
    with stopped_by_signals(), spelled(as_option):
        return _run(command, given if command is fold_command else given[1:])


def _run(command: click.Command, arguments: Sequence[str]) -> ExitCode:
    screen = Screen()
    try:
        if VARIABLE in os.environ:
            sys.stdout.write(complete(os.environ[VARIABLE], fold_command, _COMMANDS))
            return ExitCode.DONE
        if not arguments and command is fold_command:
            screen.help(_FIRST_STEPS)
            return ExitCode.USAGE
        asked = command.main(arguments, prog_name=command.name, standalone_mode=False, obj=_CONFIGURED)
        match asked:
            case Request():
                from bnfold.cli.run import run

                written = [*asked.reports, *([] if asked.output is None else [Path(asked.output)])]
                screen = Screen(quiet=asked.quiet, verbose=asked.verbose, aside=takes_standard_output(written))
                screen.note(asked.configuration)
                return run(asked, screen)
            case VerifyRequest():
                from bnfold.cli.verify_run import run_verify

                screen = Screen(quiet=asked.quiet, verbose=asked.verbose)
                screen.note(asked.configuration)
                return run_verify(asked, screen)
            case str():
                screen.tell(asked)
        return ExitCode.DONE  # of --help and --version, too, which are done by now
    except click.ClickException as error:
        screen.complain(f"{told_shorter(error)} (see {command.name} --help)")
        return ExitCode.USAGE
    except (Stopped, KeyboardInterrupt, click.Abort) as error:
        return _stopped(error, screen)
    except Exception as error:
        # What was imported when the signal came can be broken, and an import of it while cleaning up fails.
        return screen.complain_of(error) if stop_within(error) is None else _stopped(error, screen)


def _stopped(error: BaseException, screen: Screen) -> ExitCode:
    code, how = stop_of(error)
    screen.complain(how)
    return code
