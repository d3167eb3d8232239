"""Fold a program and run it beside the original, three calls in a row: results, state and inputs must be the same."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.engine import fold_graph
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torch_export.lift import lift
from bnfold.frontends.torch_export.lower import lower
from bnfold.frontends.torchscript.program import ScriptProgram
from tests import comparing
from tests.torchscript.folding import deprecations_silenced, reloaded
from tests.writes.generator import SHAPE, module_of

WAYS = ("scripted", "traced", "exported")
CALLS = 3
_RELATIVE_ERROR = 1e-9


@dataclass(frozen=True)
class Examined:
    """What was found.

    Attributes:
        found: how many BatchNorms the program has.
        folded: how many of them are gone.
        problem: what differs; "" where nothing does.
        unusable: why there is nothing to compare: torch does not take the module in this way; "" else.
    """

    found: int = 0
    folded: int = 0
    problem: str = ""
    unusable: str = ""


def examine(seed: int, way: str) -> Examined:
    """One seed in one of the `WAYS`."""
    torch.manual_seed(seed)
    inputs = [[torch.randn(SHAPE, dtype=torch.float64) * 2 for _ in range(2)] for _ in range(CALLS)]
    return compare(module_of(seed, way), way, inputs)


def compare(module: torch.nn.Module, way: str, inputs: list[list[torch.Tensor]]) -> Examined:
    """A module in one of the `WAYS`, on the inputs of several calls."""
    try:
        program = _compiled(module, way, inputs[0])
        expected = run(program, inputs)
    except Exception as error:  # whatever torch raises
        return Examined(unusable=f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
    try:
        folded, found, kept = _folded(program, inputs[0])
        problem = difference(expected, run(folded, inputs))
    except Exception as error:  # a crash is a finding
        return Examined(problem=f"{type(error).__name__}: {str(error)[-300:]}")
    return Examined(found, found - kept, problem)


def _compiled(module: torch.nn.Module, way: str, inputs: list[torch.Tensor]) -> Any:
    own = tuple(tensor.clone() for tensor in inputs)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad(), deprecations_silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "scripted":
            return reloaded(torch.jit.script(module))
        if way == "exported":
            return _reloaded(torch.export.export(module, own))
        traced = torch.jit.trace(module, own, check_trace=False)
        traced.load_state_dict(state)  # tracing ran it
        return reloaded(traced)


def _reloaded(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer)


def _folded(program: Any, inputs: list[torch.Tensor]) -> tuple[Any, int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(program, torch.export.ExportedProgram):
            graph = lift(program)
            outcome = fold_graph(AtenPort(graph))
            folded: Any = _reloaded(lower(program, graph))
        else:
            script = ScriptProgram(program, [tensor.clone() for tensor in inputs])
            outcome = fold_graph(AtenPort(script.graph))
            folded = reloaded(script.finish())
    norms = [[entry for entry in part if entry.is_batch_norm] for part in (outcome.folds, outcome.kept)]
    return folded, len(norms[0]) + len(norms[1]), len(norms[1])


def run(program: Any, inputs: list[list[torch.Tensor]]) -> list[tuple[str, torch.Tensor]]:
    """Everything that can be seen of some calls in a row, the state it ends in and what became of old results too.

    Args:
        program: left as it is.
        inputs: of each call.
    """
    seen: list[tuple[str, torch.Tensor]] = []
    later: list[tuple[str, torch.Tensor]] = []
    # As it is written: torch's own optimiser gets some of these wrong, folded or not, from the second call on.
    with torch.no_grad(), torch.jit.optimized_execution(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(program, torch.export.ExportedProgram):
            called: Any = _reloaded(program).module()
        else:
            called = reloaded(program)
        before = {name: tensor.clone() for name, tensor in called.state_dict().items()}
        for number, given in enumerate(inputs):
            own = [tensor.clone() for tensor in given]
            results = called(*own)
            shown = [(f"call {number}, result {place}", result) for place, result in enumerate(results)]
            shown += [(f"call {number}, input {place}", tensor) for place, tensor in enumerate(own)]
            seen += [(name, tensor.clone()) for name, tensor in shown]
            later += [(f"{name}, afterwards", tensor) for name, tensor in shown]
        # What nobody writes to is a constant, which a fold may change.
        later += [(name, now) for name, now in called.state_dict().items() if not torch.equal(now, before[name])]
    return seen + [(name, tensor.clone()) for name, tensor in later]


def difference(expected: list[tuple[str, torch.Tensor]], got: list[tuple[str, torch.Tensor]]) -> str:
    """The first that differs, in one line; "" where nothing does."""
    if [name for name, _ in expected] != [name for name, _ in got]:
        return f"{[name for name, _ in got]} instead of {[name for name, _ in expected]}"
    for (name, theirs), (_, mine) in zip(expected, got, strict=True):
        problem = comparing.difference(theirs, mine, _RELATIVE_ERROR)
        if problem:
            return f"{name}: {problem}"
    return ""
