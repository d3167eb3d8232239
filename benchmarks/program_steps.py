"""Where the time goes between a file of PyTorch and its folded one, without the check: CPU seconds of every step.

python benchmarks/program_steps.py [--blocks 2] [--image 64]

A residual network with ResNet-18's channels is exported, traced and scripted. Everything runs on one thread.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch import nn

from bnfold.engine import fold_graph
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torch_archive.exported import clean_program
from bnfold.frontends.torch_archive.scripts import clean_script
from bnfold.frontends.torch_archive.zip_reader import opened
from bnfold.frontends.torch_export.file import load_program, save_program_like
from bnfold.frontends.torch_export.lift import lift
from bnfold.frontends.torch_export.lower import lower
from bnfold.frontends.torchscript.file import load_script, save_script_like
from bnfold.frontends.torchscript.program import ScriptProgram


class Block(nn.Module):
    """Two convolutions, and a third beside them where the size changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        changes = stride > 1 or channels != out
        beside = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.beside = beside if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.beside(x))


class Network(nn.Module):
    """Four stages of blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))
        stages, channels = [], 64
        for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            for place in range(blocks):
                stages.append(Block(channels, out, 1 if place else stride))
                channels = out
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class Laps:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, step: str) -> None:
        """Note what has passed since the last one."""
        now = time.process_time()
        self.seconds[step] = now - self._last
        self._last = now


def fold_exported(source: Path, target: Path) -> dict[str, float]:
    """A .pt2."""
    laps = Laps()
    with opened(source) as entries:
        checked = clean_program(entries, ())
        laps.lap("check the archive")
        program = load_program(checked)
        laps.lap("torch loads it")
    graph = lift(program)
    laps.lap("lift")
    fold_graph(AtenPort(graph))
    laps.lap("plan and fold")
    folded = lower(program, graph)
    laps.lap("lower")
    save_program_like(source, folded, target)
    laps.lap("save")
    return laps.seconds


def fold_script(source: Path, target: Path, image: torch.Tensor) -> dict[str, float]:
    """A .pt."""
    laps = Laps()
    with opened(source) as entries:
        checked = clean_script(entries, ())
        laps.lap("check the archive")
        module = load_script(checked)
        laps.lap("torch loads it")
    program = ScriptProgram(module, [image])
    laps.lap("lift")
    fold_graph(AtenPort(program.graph))
    laps.lap("plan and fold")
    folded = program.finish()
    laps.lap("lower")
    save_script_like(source, folded, target)
    laps.lap("save")
    return laps.seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2, help="of each stage; 2 make ResNet-18")
    parser.add_argument("--image", type=int, default=64, help="side of the image")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    network, image = Network(arguments.blocks).eval(), torch.randn(1, 3, arguments.image, arguments.image)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.export.save(torch.export.export(network, (image,)), folder / "exported.pt2")
        torch.jit.save(torch.jit.trace(network, image), folder / "traced.pt")
        torch.jit.save(torch.jit.script(network), folder / "scripted.pt")
        fold_exported(folder / "exported.pt2", folder / "out.pt2")  # what torch imports on first use is not counted
        rows = {
            "exported": fold_exported(folder / "exported.pt2", folder / "out.pt2"),
            "traced": fold_script(folder / "traced.pt", folder / "out.pt", image),
            "scripted": fold_script(folder / "scripted.pt", folder / "out.pt", image),
        }
        size = (folder / "exported.pt2").stat().st_size
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    print(f"torch {torch.__version__}, {norms} BatchNorms, {size / 1e6:.0f} MB, CPU seconds")
    steps = list(rows["exported"])
    print(f"{'':10}" + "".join(f"{step:>19}" for step in steps))
    for way, seconds in rows.items():
        print(f"{way:10}" + "".join(f"{seconds[step]:19.2f}" for step in steps))


if __name__ == "__main__":
    main()
