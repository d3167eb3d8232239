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

WAYS = ("scripted", "traced", "frozen")
RELATIVE_ERROR = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-4, torch.float64: 1e-11}

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


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorms negative and zero scales, tiny and large variances, means far from 0; and switch to eval."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like, scale=1.0):
        return (scale * torch.randn(like.shape, generator=generator)).to(like.dtype)

    for norm in module.modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        if norm.running_mean is not None:
            norm.running_mean.copy_(draw(norm.running_mean, 3))
            spread = torch.rand(norm.running_var.shape, generator=generator)
            norm.running_var.copy_((10 ** (4 * spread - 3)).to(norm.running_var.dtype))
        if norm.affine:
            with torch.no_grad():
                norm.weight.copy_(draw(norm.weight, 2))
                norm.weight[0] = 0
                norm.bias.copy_(draw(norm.bias, 3))
    return module.eval()


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
    assert_same(module, folded.module, *arguments)
    assert_same(module, reloaded(folded.module), *arguments)
    return folded


def assert_same(a, b, *arguments, draws=3):
    """Per channel (axis 1), an error small against the channel's own largest value."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(draws):
        drawn = [_drawn(argument, generator) for argument in arguments]
        with torch.no_grad():
            left, right = _flat(a(*_copies(drawn))), _flat(b(*_copies(drawn)))
        assert len(left) == len(right)
        for x, y in zip(left, right, strict=True):
            _assert_close(x, y)


def _copies(arguments):
    return [argument.clone() if isinstance(argument, torch.Tensor) else argument for argument in arguments]


def _drawn(argument, generator):
    if not isinstance(argument, torch.Tensor) or not argument.dtype.is_floating_point:
        return argument
    return (3 * torch.randn(argument.shape, generator=generator)).to(argument.dtype)


def _flat(result):
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in _flat(part)]


def _assert_close(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    left, right = a.double(), b.double()
    assert left.isfinite().all(), "the reference itself is not finite"
    channels = (lambda t: t.transpose(0, 1).reshape(t.shape[1], -1)) if left.dim() > 1 else (lambda t: t.reshape(1, -1))
    error = channels((left - right).abs()).amax(1)
    magnitude = channels(left.abs()).amax(1)
    tolerance = RELATIVE_ERROR[a.dtype] * (magnitude + 1e-3 * magnitude.max())
    assert (error <= tolerance).all(), f"error {error} against tolerance {tolerance}"
