"""Completion by a shell: click knows what a command takes, and here the first word says which command that is."""

from collections.abc import Mapping

import click
from click.shell_completion import BashComplete, CompletionItem, ShellComplete, get_completion_class

VARIABLE = "_BNFOLD_COMPLETE"
"""Of the environment: what a shell asks, such as bash_source for its script and bash_complete for what fits."""


class _Bash(BashComplete):
    """Bash shows files beside words, too: those of click's script appear only where no word fits, so that
    `bnfold <TAB>` would offer commands and no model.
    """

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' answer
    COMPREPLY=()
    for answer in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1); do
        case $answer in
            plain,*) COMPREPLY+=("${answer#plain,}") ;;
            dir,*) compopt -o dirnames ;;
            file,*)
                compopt -o default
                if [ ${#COMPREPLY[@]} -gt 0 ]; then
                    compopt -o filenames
                    COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
                fi ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def complete(asked: str, default: click.Command, others: Mapping[str, click.Command]) -> str:
    """Answer a shell.

    Args:
        asked: the value of `VARIABLE`.
        default: what runs where the first word is no command's.
        others: by their first word.

    Returns:
        What to print: a script for the shell to source, or the words that fit what is typed.

    Raises:
        click.UsageError: no such shell, or nothing that a shell asks.
    """
    shell, _, what = asked.partition("_")
    kind: type[ShellComplete] | None = _Bash if shell == "bash" else get_completion_class(shell)
    if kind is None or what not in ("source", "complete"):
        raise click.UsageError(f"got {VARIABLE}={asked}, expected bash_source, zsh_source or fish_source")
    answering = kind(default, {}, default.name or "", VARIABLE)
    if what == "source":
        return answering.source()
    words, begun = answering.get_completion_args()
    fitting: list[CompletionItem] = []
    if not words:
        fitting += [_named(name, others[name]) for name in others if name.startswith(begun)]
    elif words[0] in others:
        answering.cli, words = others[words[0]], words[1:]
    fitting += answering.get_completions(words, begun)
    return "\n".join(map(answering.format_completion, fitting)) + "\n"


def offer_files(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """For an option that takes a path, and is no click.Path because it takes more."""
    return [CompletionItem(begun, type="file")]


def _named(name: str, command: click.Command) -> CompletionItem:
    return CompletionItem(name, help=command.get_short_help_str())
