"""Random modules that write to memory: in place, through views, into buffers and inputs, from a seed.

A module is source text, because torch.jit.script reads the text of a class. All tensors have the form of `SHAPE`, in
float64, so that any may be combined with any and a wrong fold cannot hide behind rounding.
"""

import linecache
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.torch_modules import randomised

SHAPE = (2, 4, 5, 5)

_HEAD = """\
from typing import Dict, List, Optional, Tuple
import torch
from torch import nn
from torch.nn import functional as F

class Program(nn.Module):
    kept: Optional[torch.Tensor]

    def __init__(self):
        super().__init__()
        self.kept = None
        for i in range({layers}):
            setattr(self, f"conv{{i}}", nn.Conv2d(4, 4, 3, padding=1, bias=i % 2 == 0))
            setattr(self, f"norm{{i}}", nn.BatchNorm2d(4))
        for i in range(2):
            self.register_buffer(f"state{{i}}", torch.randn({shape}))
        self.register_buffer("tied", self.state0)
        self.scale = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor):
"""


@dataclass
class Writer:
    """Writes the statements of one forward.

    Attributes:
        way: "scripted", "traced" or "exported": what the text may contain.
    """

    rng: random.Random
    way: str
    lines: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=lambda: ["x", "y"])
    layers: int = 0
    indent: int = 2

    def say(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def any(self) -> str:
        """A variable, most often one of the last."""
        return self.names[-1 - min(int(self.rng.expovariate(0.7)), len(self.names) - 1)]

    def new(self, expression: str) -> str:
        name = f"v{len(self.lines)}"
        self.say(f"{name} = {expression}")
        self.names.append(name)
        return name

    def norm(self) -> str:
        """A convolution and a BatchNorm, one of them alone, or a BatchNorm that is used twice."""
        layer, self.layers = self.layers, self.layers + 1
        kind = self.rng.random()
        source = self.any()
        if kind < 0.65:
            source = self.new(f"self.conv{layer}({source})")
            if self.rng.random() < 0.2:
                self.write()
            if self.rng.random() < 0.15:
                source = self.view(source)
            return self.new(f"self.norm{layer}({source})")
        if kind < 0.9:
            source = self.new(f"self.norm{layer}({source})")
            if self.rng.random() < 0.3:
                self.write()
            return self.new(f"self.conv{layer}({source})")
        return self.new(f"self.norm{layer}({source})")

    def calculate(self) -> str:
        return self.new(
            self.rng.choice(
                (
                    f"torch.relu({self.any()})",
                    f"torch.sigmoid({self.any()})",
                    f"{self.any()} + {self.any()}",
                    f"{self.any()} * self.scale",
                    f"F.leaky_relu({self.any()}, 0.1)",
                    f"torch.cat([{self.any()}[:, :2], {self.any()}[:, 2:]], 1)",
                    f"torch.stack([{self.any()}, {self.any()}]).mean(0)",
                    f"F.dropout({self.any()}, 0.5, self.training)",
                    f"F.max_pool2d({self.any()}, 3, 1, 1)",
                )
            )
        )

    def view(self, source: str) -> str:
        return self.new(
            self.rng.choice(
                (
                    f"{source}.view({SHAPE})",
                    f"{source}.transpose(2, 3)",
                    f"{source}.reshape(2, 4, 25).reshape({SHAPE})",
                    f"{source}.flatten(2).unflatten(2, (5, 5))",
                    f"{source}.detach()",
                    f"{source}[:]",
                    f"{source}.contiguous()",
                    f"torch.cat({source}.chunk(2, 1), 1)",
                    f"{source}.unsqueeze(0).squeeze(0)",
                )
            )
        )

    def write(self) -> None:
        """Change something in place; the result may get a name or not."""
        target, other = self.any(), self.any()
        statements: tuple[Callable[[], object], ...] = (
            lambda: self.new(f"F.relu({target}, inplace=True)"),
            lambda: self.new(f"F.relu({target}, inplace=True)"),
            lambda: self.new(f"torch.sigmoid_({target})"),
            lambda: self.say(f"{target}.mul_(0.7)"),
            lambda: self.say(f"{target} += {other}"),
            lambda: self.say(f"{target} *= self.scale"),
            lambda: self.new(f"{target}.add_({other}, alpha=-0.5)"),
            lambda: self.say(f"{target}.clamp_(min=-0.5)"),
            lambda: self.say(f"{target}.copy_({other})"),
            lambda: self.say(f"{target}[:, :2] = {other}[:, 2:]"),
            lambda: self.say(f"{target}[:, 1:3] *= 0.5"),
            lambda: self.say(f"{target}[:, 0].add_({other}[:, 1])"),
            lambda: self.say(f"{target}.transpose(2, 3).mul_({other})"),
            lambda: self.say(f"torch.add({other}, 0.25, out={target})"),
            lambda: self.say(f"torch.mul({other}, {self.any()}, out={target})"),
            lambda: self.say(f"{target}.masked_fill_({other} > 0.5, 0.25)"),
            lambda: self.say(f"{target}.index_add_(1, torch.tensor([0, 2]), {other}[:, 1:3])"),
            lambda: self.say(f"{target}.select(1, 2).fill_(0.5)"),
            lambda: self.new(f"{target}.div_(2.0)"),
            lambda: self.say(f"{target}.unsqueeze_(0).squeeze_(0)"),
            lambda: self.say(f"{target}.as_strided((2, 50), (100, 1)).neg_()"),
            lambda: self.say(f"{target}.split(2, 1)[0].add_({other}[:, 2:])"),
            lambda: self.new(f"torch.where({target} > 0, {target}.neg_(), {other})"),
            self._chunk,
            self._halves,
            self._zeros,
        )
        self.rng.choice(statements)()

    def _chunk(self) -> None:
        a, b = f"a{len(self.lines)}", f"b{len(self.lines)}"
        self.say(f"{a}, {b} = torch.chunk({self.any()}, 2, 1)")
        if self.rng.random() < 0.5:
            self.say(f"{self.rng.choice((a, b))}.mul_(0.5)")
        self.new(f"torch.cat([{a}, {b}, ], 1)")

    def _halves(self) -> None:
        half = f"h{len(self.lines)}"
        self.say(f"{half} = {self.any()}[:, :2]")
        self.say(f"{half}.add_({self.any()}[:, 2:])")
        self.new(f"torch.cat([{half}, {half}], 1)")

    def _zeros(self) -> None:
        fresh = self.new(f"torch.zeros_like({self.any()})")
        self.say(f"{fresh}[:, :3] = {self.any()}[:, 1:]")
        self.say(f"{fresh}[:, 3:] = {self.any()}[:, :1]")

    def state(self) -> None:
        state = f"self.state{self.rng.randrange(2)}"
        statements = [
            lambda: self.new(f"{self.any()} - self.tied"),
            lambda: self.say(f"self.tied.add_({self.any()}, alpha=0.1)"),
            lambda: self.new(f"self.norm{self._layer()}({state})"),
            lambda: self.say(f"{state}.copy_({self.any()})"),
            lambda: self.say(f"{state}.mul_(0.5)"),
            lambda: self.say(f"{state}.add_({self.any()}, alpha=0.1)"),
            lambda: self.new(f"{self.any()} + {state}"),
            lambda: self.new(f"{state}.clone()"),
            lambda: self.names.append(state),
            lambda: self.say(f"{state}[:, 1:3] = {self.any()}[:, 1:3]"),
        ]
        if self.way == "scripted":
            statements += [lambda: self.say(f"{state} = {self.any()}"), self._optional] * 2
        self.rng.choice(statements)()

    def _layer(self) -> int:
        self.layers += 1
        return self.layers - 1

    def _optional(self) -> None:
        """A cache that the first call makes."""
        held = f"k{len(self.lines)}"
        self.say(f"{held} = self.kept")
        self.say(f"if {held} is not None:")
        self.say(f"    {held}.mul_(0.5)")
        self.say(f"    {held} = {held} + {self.any()}")
        self.say("else:")
        self.say(f"    {held} = {self.any()}")
        self.say(f"self.kept = {held}")
        self.names.append(held)

    def branch(self) -> None:
        """A loop, or in scripts a decision: variables of their bodies end with them."""
        outside, kind = list(self.names), self.rng.random()
        if kind < 0.5:
            self.say(f"for i in range({self.rng.randint(1, 2)}):")
        elif self.way == "scripted":
            self.say(f"if bool(({self.any()}).sum() > {self.rng.choice(('0', '-1e9'))}):")
        else:
            return
        carried = self.rng.choice([name for name in self.names if "." not in name])
        self.indent += 1
        self.say("pass")
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice((self.norm, self.write, self.calculate, self.state))()
        if self.rng.random() < 0.7:
            self.say(f"{carried} = {self.any()}")
        self.indent -= 1
        self.names = outside

    def lists(self) -> None:
        name = f"l{len(self.lines)}"
        self.say(f"{name} = [{self.any()}]")
        if self.rng.random() < 0.6:
            self.say(f"{name}.append({self.any()})")
        if self.rng.random() < 0.6:
            self.say(f"{name}[0].mul_(0.5)")
        if self.way == "scripted" and self.rng.random() < 0.4:
            table = f"d{len(self.lines)}"
            self.say(f"{table}: Dict[str, torch.Tensor] = {{'a': {name}[0], 'b': {self.any()}}}")
            self.say(f"{table}['a'].add_({table}['b'])")
        self.new(f"torch.stack({name}).sum(0)")


def source_of(seed: int, way: str) -> str:
    """The text of a module."""
    rng = random.Random(seed)
    writer = Writer(rng, way)
    for _ in range(rng.randint(3, 9)):
        kinds = (
            [writer.norm] * 5
            + [writer.write] * 6
            + [writer.calculate] * 3
            + [writer.state] * 2
            + [lambda: writer.view(writer.any()), writer.branch, writer.lists]
        )
        rng.choice(kinds)()
    if not writer.layers:
        writer.norm()
    results = [writer.any() for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        results.append(writer.view(writer.any()))
    writer.say(f"return ({', '.join(results)},)")
    return _HEAD.format(layers=writer.layers, shape=SHAPE) + "\n".join(writer.lines) + "\n"


def module_of(seed: int, way: str) -> nn.Module:
    """The module, with wide statistics, in float64 and in evaluation mode."""
    text, name = source_of(seed, way), f"<program {way} {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # where torch.jit.script reads it
    loaded: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, name, "exec"), loaded)
    torch.manual_seed(seed)
    return randomised(loaded["Program"]().double().eval(), seed)
