"""Modules and calls of PyTorch in tests: statistics that make a wrong fold show, and the comparison of two programs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tests.comparing import assert_equal_results

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorms negative, zero and tiny scales, small and large variances, means far from 0; then `eval`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like, scale=1.0):
        return (scale * torch.randn(like.shape, generator=generator)).to(like.dtype)

    for norm in module.modules():
        if not isinstance(norm, BATCH_NORMS):
            continue
        if norm.running_mean is not None:
            norm.running_mean.copy_(draw(norm.running_mean, 3))
            spread = torch.rand(norm.running_var.shape, generator=generator)
            norm.running_var.copy_((10 ** (4 * spread - 3)).to(norm.running_var.dtype))
        if norm.affine:
            with torch.no_grad():
                norm.weight.copy_(draw(norm.weight, 2))
                norm.weight[0] = 0
                if norm.num_features > 2:
                    norm.weight[1] = -1e-3
                norm.bias.copy_(draw(norm.bias, 3))
    return module.eval()


def assert_same_calls(
    original: Callable[..., Any], others: Sequence[Callable[..., Any]], arguments: Sequence[Any], draws: int = 2
) -> None:
    """All give the same on these arguments, and on wide, symmetric draws of their shapes, called in a row."""
    generator = torch.Generator().manual_seed(1)
    for number in range(draws + 1):
        given = [_drawn(argument, generator) for argument in arguments] if number else list(arguments)
        with torch.no_grad():
            expected = original(*copies(given))
            for other in others:
                assert_equal_results(expected, other(*copies(given)), f"draw {number}")


def copies(arguments: Sequence[Any]) -> list[Any]:
    """The arguments of one call that may write to them."""
    return [argument.clone() if isinstance(argument, torch.Tensor) else argument for argument in arguments]


def _drawn(argument: Any, generator: torch.Generator) -> Any:
    """Integers and what is no tensor stay as they are: they may be indices."""
    if not isinstance(argument, torch.Tensor):
        return argument
    if argument.dtype.is_complex:
        return (3 * torch.randn(argument.shape, generator=generator, dtype=torch.complex128)).to(argument.dtype)
    if not argument.dtype.is_floating_point:
        return argument
    return (3 * torch.randn(argument.shape, generator=generator)).to(argument.dtype)
