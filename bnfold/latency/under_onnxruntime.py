"""Two ONNX models timed under onnxruntime, in sessions as somebody would open them who deploys them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnfold.latency.turns import compared, take_turns
from bnfold.pulse import beat
from bnfold.timings import BenchOptions, Latency, Level
from bnfold.verification import VerifyOptions
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model, ModelSource
from bnfold.verifier.run.complaints import one_line
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.runner import OnnxRunner
from bnfold.verifier.run.session import Feeds, require_libraries, require_provider
from bnfold.verifier.run.values import to_value
from bnfold.verifier.run.wanted import wanted_by

if TYPE_CHECKING:
    import onnxruntime

_LEVELS: dict[Level, str] = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_CPU = "CPUExecutionProvider"
_ERRORS_ALONE = 3


def time_models(
    reference: ModelSource, candidate: ModelSource, how: BenchOptions, fed: VerifyOptions
) -> tuple[Latency, ...]:
    """Time two models at every level and number of threads that was asked for.

    Args:
        reference: the original, as a path or as a serialised ModelProto.
        candidate: the new model, likewise.
        how: levels, threads, provider, and for how long.
        fed: what the models are run on: the first sample of a check with these options.

    Returns:
        One entry for each level and number of threads; what could not be measured says why.

    Raises:
        UsageError: this onnxruntime has no such provider, or the options do not fit the model.
        UncheckedError: the original does not run.
    """
    require_provider(how.provider)
    require_libraries(fed.custom_ops)
    feeds = _first_sample(reference, fed)
    return tuple(
        _timed((reference, candidate), feeds, how, level, threads, fed.custom_ops)
        for level in how.levels
        for threads in how.threads
    )


def _first_sample(reference: ModelSource, fed: VerifyOptions) -> Feeds:
    graph = Structure(Model.read("the original", reference, fed.custom_ops))
    options = replace(fed, samples=1)
    return choose_feeding(OnnxRunner(graph.model), options, wanted_by(graph)).feeds


def _timed(
    sources: Sequence[ModelSource],
    feeds: Feeds,
    how: BenchOptions,
    level: Level,
    threads: int,
    libraries: Sequence[str],
) -> Latency:
    setting = Latency("onnxruntime", level, how.provider, threads)
    try:
        original, folded = (_runner(source, feeds, how.provider, level, threads, libraries) for source in sources)
        return compared(setting, take_turns(original, folded, how.seconds))
    except Exception as error:  # onnxruntime's exceptions have no common base
        return replace(setting, problem=one_line(error))


def _runner(
    source: ModelSource, feeds: Feeds, provider: str, level: Level, threads: int, libraries: Sequence[str]
) -> Callable[[], Any]:
    """What runs a model once."""
    beat()
    session = _open(source, provider, level, threads, libraries)
    names = [output.name for output in session.get_outputs()]
    if not all(isinstance(value, np.ndarray) and value.dtype.kind != "O" for value in feeds.values()):
        return lambda: session.run(names, {**feeds})
    values = {name: to_value(value) for name, value in feeds.items()}
    return lambda: session.run_with_ort_values(names, values)


def _open(
    source: ModelSource, provider: str, level: Level, threads: int, libraries: Sequence[str]
) -> "onnxruntime.InferenceSession":
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[level])
    settings.intra_op_num_threads = threads
    settings.log_severity_level = _ERRORS_ALONE
    for library in libraries:
        settings.register_custom_ops_library(library)
    # Without enable_fallback=0, onnxruntime prints its errors to stdout and tries again.
    providers = list(dict.fromkeys((provider, _CPU)))
    given = source if isinstance(source, bytes) else os.fspath(Path(source))
    return onnxruntime.InferenceSession(given, settings, providers=providers, enable_fallback=0)
