"""Script or trace a module in a test, fold it, and compare both sides in torch, channel by channel."""

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from bnfold.engine import fold_graph
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torchscript.program import ScriptProgram
from bnfold.outcome import Fold, Kept
from bnfold.refusal import Reason
from tests.torch_modules import assert_same_calls

WAYS = ("scripted", "traced", "frozen")

_SENTENCES = (
    r"`torch\.jit\.(script|trace|trace_method)` is deprecated. Please switch to `torch.compile` or `torch.export`\.",
    r"`torch\.jit\.(load|save)` is deprecated. Please switch to `torch.export`\.",
    r"`torch\.jit\.(freeze|optimize_for_inference|interface)` is deprecated. Please use `torch.compile` instead\.",
)


@contextmanager
def deprecations_silenced():
    """torch.jit in tests, without its deprecations."""
    with warnings.catch_warnings():
        for sentence in _SENTENCES:
            warnings.filterwarnings("ignore", sentence, DeprecationWarning)
            warnings.filterwarnings("ignore", sentence, FutureWarning)  # torch 2.14 and newer
        warnings.filterwarnings("ignore", "Converting a tensor to a Python (boolean|integer)", torch.jit.TracerWarning)
        yield


def compiled(module: nn.Module, way: str, *arguments) -> torch.jit.ScriptModule:
    """A module scripted, traced, or traced and frozen with its BatchNorms as they are."""
    with deprecations_silenced(), torch.no_grad():
        if way == "scripted":
            return torch.jit.script(module)
        traced = torch.jit.trace(module, arguments)
        return torch.jit.freeze(traced, optimize_numerics=False) if way == "frozen" else traced


def reloaded(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The module as a file would give it back."""
    buffer = io.BytesIO()
    with deprecations_silenced():
        torch.jit.save(module, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


@dataclass
class Folded:
    original: torch.jit.ScriptModule
    module: torch.jit.ScriptModule
    folds: tuple[Fold, ...]
    kept: tuple[Kept, ...]

    @property
    def batch_norms_folded(self) -> int:
        return sum(entry.is_batch_norm for entry in self.folds)

    @property
    def reasons(self) -> list[Reason]:
        """The first reason of each BatchNorm that stays."""
        return [entry.refusals[0].reason for entry in self.kept if entry.is_batch_norm]

    @property
    def names(self) -> set[str]:
        return set(self.module.state_dict())


def fold(module: torch.jit.ScriptModule, *arguments, assume_inference=False, **options) -> Folded:
    """Fold a module, and require that it is itself left alone."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    code = module.code
    program = ScriptProgram(module, arguments, assume_inference=assume_inference)
    outcome = fold_graph(AtenPort(program.graph), **options)
    folded = program.finish()
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.allclose(after[name], before[name], rtol=0, atol=0, equal_nan=True) for name in before)
    assert module.code == code
    return Folded(module, folded, outcome.folds, outcome.kept)


def fold_and_compare(module: torch.jit.ScriptModule, *arguments, **options) -> Folded:
    """Fold, then require that forward agrees on wide, symmetric inputs, also after saving and loading."""
    folded = fold(module, *arguments, **options)
    assert_same_calls(module, [folded.module, reloaded(folded.module)], arguments)
    return folded


def assert_same(a, b, *arguments):
    """Both modules, or two methods of theirs, give the same; see `assert_same_calls`."""
    assert_same_calls(a, [b], arguments)
