"""Two programs of PyTorch timed in torch: on the CPU, and on a GPU where there is one, as calls and as a CUDA graph.

A CUDA graph is recorded once and started as a whole, so that nothing is left of what Python and torch spend on each
operator (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs); it is how small models are deployed.
"""

import copy
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from bnfold.latency.turns import compared, take_turns
from bnfold.pulse import beat
from bnfold.timings import BenchOptions, Latency
from bnfold.verification import VerifyOptions
from bnfold.verifier.programs.inputs import example_arguments
from bnfold.verifier.run.complaints import one_line

_WARM_UP = 3

Call = Callable[[], object]


def time_programs(reference: object, candidate: object, how: BenchOptions, fed: VerifyOptions) -> tuple[Latency, ...]:
    """Time two programs on the CPU with every number of threads, and on a GPU where torch sees one.

    Args:
        reference: the original, a ScriptModule or an ExportedProgram; it is left as it is.
        candidate: the new program, of the same kind.
        how: threads, and for how long; levels and providers are onnxruntime's.
        fed: what the programs are run on: the first sample of a check with these options.

    Returns:
        One entry for each way; what could not be measured says why.

    Raises:
        UsageError: nothing says the shape of an input.
        UncheckedError: the original does not run.
    """
    leaves = example_arguments(reference, fed)
    programs = (reference, candidate)
    found = []
    for threads in how.threads:
        with _threads(threads):
            found.append(_timed(Latency("torch", "eager", "cpu", threads), programs, leaves, how.seconds, _eager))
    if torch.cuda.is_available():
        device = Latency("torch", "eager", "cuda", 0)
        found.append(_timed(device, programs, leaves, how.seconds, _eager))
        found.append(_timed(replace(device, setting="CUDA graph"), programs, leaves, how.seconds, _recorded))
    return tuple(found)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(
    setting: Latency,
    programs: Sequence[object],
    leaves: Sequence[Any],
    seconds: float,
    prepared: Callable[[Call, str], Call],
) -> Latency:
    try:
        with torch.inference_mode():
            calls = [prepared(_call(program, leaves, setting.device), setting.device) for program in programs]
            return compared(setting, take_turns(calls[0], calls[1], seconds))
    except Exception as error:  # whatever the program raises
        return replace(setting, problem=one_line(error))


def _call(program: object, leaves: Sequence[Any], device: str) -> Call:
    """What runs a copy of a program once on a device, which may still be at work when the call ends."""
    beat()
    there = [leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    if isinstance(program, torch.export.ExportedProgram):
        return _call_of_exported(program, there, device)
    module: Any = copy.deepcopy(program) if device == "cpu" else _moved(program, device)
    return lambda: module(*there)


def _moved(program: Any, device: str) -> object:  # noqa: ANN401 - a ScriptModule
    """A copy of a module of TorchScript on a device. Module.to would leave behind what is a constant of its code."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
        torch.jit.save(program, written)
        written.seek(0)
        return torch.jit.load(written, map_location=device)  # type: ignore[no-untyped-call]


def _call_of_exported(program: "torch.export.ExportedProgram", leaves: list[Any], device: str) -> Call:
    from torch.export.passes import move_to_device_pass
    from torch.utils import _pytree as pytree

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's pytree, which copying calls
        own = copy.deepcopy(program)
    module: Any = (own if device == "cpu" else move_to_device_pass(own, device)).module()
    arguments, keywords = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return lambda: module(*arguments, **keywords)


def _eager(call: Call, device: str) -> Call:
    """Operator by operator; the call ends when the device is done."""
    if device == "cpu":
        return call

    def run() -> None:
        call()
        torch.cuda.synchronize()

    return run


def _recorded(call: Call, device: str) -> Call:
    """All operators in one graph of CUDA, after calls on a stream of their own, as recording asks for."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()

    def run() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return run
