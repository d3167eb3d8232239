"""The options of `--bench`."""

from typing import Any

import click

from bnfold.cli.grouped import options_of, refuse_with, refuse_without, together
from bnfold.cli.parsing import parse_count, parse_seconds
from bnfold.timings import LEVELS, BenchOptions

_SETTINGS = ("bench_levels", "bench_threads", "bench_seconds")

_latency = options_of("Latency")

bench_options = together(
    _latency("--bench", is_flag=True, help="Time the model before and after, in turns."),
    _latency(
        "--bench-level",
        "bench_levels",
        type=click.Choice(LEVELS),
        multiple=True,
        default=("all",),
        show_default=True,
        help="Level of onnxruntime's optimisations to time at; repeatable.",
    ),
    _latency(
        "--bench-threads",
        metavar="N",
        type=parse_count,
        multiple=True,
        default=("1",),
        show_default=True,
        help="Threads that compute one operator; repeatable.",
    ),
    _latency(
        "--bench-seconds",
        metavar="SECONDS",
        type=parse_seconds,
        default="2",
        show_default=True,
        help="How long both models run, at each level and number of threads.",
    ),
)


def take_bench(context: click.Context, values: dict[str, Any]) -> BenchOptions | None:
    """How to time the model, taken out of the values of a command line; None not to.

    Raises:
        click.UsageError: the options contradict each other.
    """
    asked = values.pop("bench")
    levels, threads, seconds = (values.pop(name) for name in _SETTINGS)
    if not asked:
        refuse_without(context, "--bench", _SETTINGS)
        return None
    if values["jobs"] != 1:
        raise click.UsageError("--bench measures one model at a time: leave -j out")
    if values["dry_run"]:
        refuse_with(context, "--dry-run", ("bench",))
    return BenchOptions(levels, threads, seconds, values["provider"])
