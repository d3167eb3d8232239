"""Modules whose code reaches files: torch.jit.script wants their source in a file."""

from typing import Tuple  # noqa: UP035 - TorchScript knows the old spelling

import torch
from torch import nn

ON_LOADING = "/tmp/bnfold_test_written_on_loading"


class Saves(nn.Module):
    """Writes a file."""

    def forward(self, x):
        torch.save(x, "written_by_a_model")
        return x


class Maps(nn.Module):
    """Maps a file, and makes one where there is none."""

    def forward(self, x):
        return x + torch.from_file("written_by_a_model", True, 4, dtype=torch.float32)


class SavesInSubmodule(nn.Module):
    """Writes a file further down."""

    def __init__(self):
        super().__init__()
        self.inner = Saves()

    def forward(self, x):
        return self.inner(x)


class SavesElsewhere(nn.Module):
    """Writes a file in a method that forward does not call."""

    def forward(self, x):
        return x

    @torch.jit.export
    def keep(self, x: torch.Tensor):
        torch.save(x, "written_by_a_model")


class SavesOnLoading(nn.Module):
    """Writes a file while it is loaded."""

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self) -> Tuple[torch.Tensor, bool]:  # noqa: UP006
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool]) -> None:  # noqa: UP006
        self.training = state[1]
        torch.save(state[0], "/tmp/bnfold_test_written_on_loading")
