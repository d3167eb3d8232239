"""Faults in programs of torch: networks folded by hand, by formulas of this file alone, and folded wrongly.

Nothing of bnfold's makes them. Each kind is one of the catalogue of ONNX models.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

WAYS = ("traced", "scripted", "exported")
# Beyond these many units of its last place, a stored number was not rounded but changed.
_UNITS = {torch.float32: 8.0, torch.float16: 0.55}
_BITS = {torch.float32: 24, torch.float16: 11}
_SMALLEST = {torch.float32: -149, torch.float16: -24}


class NotHere(Exception):  # noqa: N818 - nothing is wrong
    """A kind of fault that a network has no place for."""


@dataclass(frozen=True)
class Fold:
    """One operator and its BatchNorm, in float64.

    Attributes:
        weight: with the channels that the map meets on the first axis.
        bias: of the operator.
        gamma, beta, mean, variance, epsilon: of the BatchNorm.
        behind: whether the BatchNorm stands behind the operator.
        groups: of the operator.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    gamma: torch.Tensor
    beta: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    epsilon: float
    behind: bool
    groups: int = 1

    @property
    def scale(self) -> torch.Tensor:
        return self.gamma / torch.sqrt(self.variance + self.epsilon)

    @property
    def shift(self) -> torch.Tensor:
        return self.beta - self.mean * self.scale

    def with_map(self, scale: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias that have taken up the map."""
        weight = self.weight * scale.reshape(-1, *[1] * (self.weight.dim() - 1))
        if self.behind:
            return weight, self.bias * scale + shift
        taps = self.weight.flatten(2).sum(2) if self.weight.dim() > 2 else self.weight
        return weight, self.bias + shift @ taps

    def right(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.with_map(self.scale, self.shift)


Kind = Callable[[Fold, list[Fold], torch.Generator], tuple[torch.Tensor, torch.Tensor]]


def _channel(fold: Fold, generator: torch.Generator) -> int:
    return int(torch.randint(len(fold.weight), (), generator=generator))


def _weight_by_one_percent(fold, _others, generator):
    weight, bias = fold.right()
    weight[_channel(fold, generator)] *= 1.01
    return weight, bias


def _bias_by_one_percent(fold, _others, generator):
    weight, bias = fold.right()
    bias[int(torch.randint(len(bias), (), generator=generator))] *= 1.01
    return weight, bias


def _channels_swapped(fold, _others, generator):
    weight, bias = fold.right()
    one = _channel(fold, generator)
    order = torch.arange(len(weight))
    order[one], order[one - 1] = order[one - 1].item(), one
    return weight[order], bias[order] if fold.behind else bias


def _sign_flipped(fold, _others, generator):
    weight, bias = fold.right()
    weight[_channel(fold, generator)] *= -1
    return weight, bias


def _bias_dropped(fold, _others, _generator):
    return fold.right()[0], fold.bias.clone()


def _epsilon_forgotten(fold, _others, _generator):
    return replace(fold, epsilon=0.0).right()


def _epsilon_twice(fold, _others, _generator):
    return replace(fold, epsilon=2 * fold.epsilon).right()


def _scale_on_the_wrong_axis(fold, _others, _generator):
    inner = fold.weight.shape[1]
    scale = fold.scale.repeat(-(-inner // len(fold.scale)))[:inner]
    return fold.weight * scale.reshape(1, -1, *[1] * (fold.weight.dim() - 2)), fold.right()[1]


def _groups_interleaved(fold, _others, _generator):
    per_group = len(fold.scale) // fold.groups
    if not fold.behind or fold.groups == 1 or per_group == 1:
        raise NotHere("one group, or one channel a group")
    order = torch.arange(len(fold.scale)).reshape(per_group, fold.groups).T.reshape(-1)
    return fold.with_map(fold.scale[order], fold.shift[order])


def _another_batch_norm(fold, others, _generator):
    other = next((other for other in others if other is not fold and len(other.gamma) == len(fold.gamma)), None)
    if other is None:
        raise NotHere("no other BatchNorm has as many channels")
    return fold.with_map(other.scale, other.shift)


def _bias_scaled_twice(fold, _others, _generator):
    weight, bias = fold.right()
    return weight, fold.scale * bias if fold.behind else fold.with_map(fold.scale, fold.scale * fold.shift)[1]


def _rounded_twice(fold, _others, _generator):
    return fold.with_map(fold.scale.half().double(), fold.shift.half().double())


def _nothing(fold, _others, _generator):
    return fold.right()


KINDS: dict[str, Kind] = {
    "one channel's weight by 1 %": _weight_by_one_percent,
    "one channel's bias by 1 %": _bias_by_one_percent,
    "two channels swapped": _channels_swapped,
    "sign flipped": _sign_flipped,
    "bias dropped": _bias_dropped,
    "eps forgotten": _epsilon_forgotten,
    "eps added twice": _epsilon_twice,
    "scale on the wrong axis": _scale_on_the_wrong_axis,
    "shift dropped at the padding": _nothing,  # wrong by itself, where there is padding
    "groups interleaved wrongly": _groups_interleaved,
    "another BatchNorm's parameters": _another_batch_norm,
    "bias scaled twice": _bias_scaled_twice,
    "float16 rounding done twice": _rounded_twice,
}


class Network(nn.Module):
    """Operators with BatchNorms, in an order of their own.

    Args:
        sample: the shape of its input.
        pairs: names of operator and BatchNorm, and whether the BatchNorm stands behind.
    """

    def __init__(self, sample: tuple[int, ...], pairs: list[tuple[str, str, bool]]) -> None:
        super().__init__()
        self.sample = sample
        self.pairs = pairs


class Chain(Network):
    """One after the other."""

    def __init__(self, sample, pairs, **modules) -> None:
        super().__init__(sample, pairs)
        self.chain = nn.Sequential()
        for name, module in modules.items():
            self.chain.add_module(name, module)

    def forward(self, x):
        return self.chain(x)


class Residual(Network):
    """Two convolutions, an addition in place, and a Relu in place."""

    def __init__(self) -> None:
        super().__init__((2, 3, 9, 9), [("c", "n", True), ("d", "m", True)])
        self.chain = nn.Sequential()
        for name, module in (
            ("c", nn.Conv2d(3, 4, 3)),
            ("n", nn.BatchNorm2d(4)),
            ("d", nn.Conv2d(4, 4, 3, padding=1)),
            ("m", nn.BatchNorm2d(4)),
        ):
            self.chain.add_module(name, module)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.chain.n(self.chain.c(x)))
        z = self.chain.m(self.chain.d(y))
        z += y
        return self.relu(z)


class Tokens(Network):
    """A Linear over tokens, whose channels stand last, and an attention behind."""

    def __init__(self) -> None:
        super().__init__((2, 5, 6), [("c", "n", True)])
        self.chain = nn.Sequential()
        self.chain.add_module("c", nn.Linear(6, 8))
        self.chain.add_module("n", nn.BatchNorm1d(8))

    def forward(self, x):
        y = self.chain.n(self.chain.c(x).transpose(1, 2)).transpose(1, 2)
        return torch.softmax(y @ y.transpose(1, 2), -1) @ y


def _stack():
    return Chain(
        (2, 3, 8, 8),
        [("c", "n", True), ("d", "m", True)],
        c=nn.Conv2d(3, 6, 3),
        n=nn.BatchNorm2d(6),
        r=nn.ReLU(),
        d=nn.Conv2d(6, 6, 3, stride=2, bias=False),
        m=nn.BatchNorm2d(6),
        s=nn.Sigmoid(),
    )


NETWORKS: dict[str, Callable[[], Network]] = {
    "stack": _stack,
    "depthwise": lambda: Chain(
        (2, 6, 8, 8), [("c", "n", True)], c=nn.Conv2d(6, 6, 3, groups=6), n=nn.BatchNorm2d(6), r=nn.ReLU6()
    ),
    "grouped": lambda: Chain((2, 6, 8, 8), [("c", "n", True)], c=nn.Conv2d(6, 9, 3, groups=3), n=nn.BatchNorm2d(9)),
    "transposed": lambda: Chain(
        (2, 4, 5, 5), [("c", "n", True)], c=nn.ConvTranspose2d(4, 5, 3, stride=2), n=nn.BatchNorm2d(5), r=nn.ReLU()
    ),
    "linear": lambda: Chain(
        (4, 6),
        [("c", "n", True), ("d", "m", True)],
        c=nn.Linear(6, 8),
        n=nn.BatchNorm1d(8),
        r=nn.Hardswish(),
        d=nn.Linear(8, 8),
        m=nn.BatchNorm1d(8),
    ),
    "1-d": lambda: Chain((2, 4, 12), [("c", "n", True)], c=nn.Conv1d(4, 6, 3, dilation=2), n=nn.BatchNorm1d(6)),
    "3-d": lambda: Chain((1, 2, 5, 5, 5), [("c", "n", True)], c=nn.Conv3d(2, 4, 3), n=nn.BatchNorm3d(4), r=nn.ReLU()),
    "downstream": lambda: Chain(
        (2, 4, 8, 8), [("c", "n", False)], n=nn.BatchNorm2d(4), c=nn.Conv2d(4, 5, 3), r=nn.ReLU()
    ),
    "padded": lambda: Chain((2, 4, 8, 8), [("c", "n", False)], n=nn.BatchNorm2d(4), c=nn.Conv2d(4, 5, 3, padding=1)),
    "residual": Residual,
    "tokens": Tokens,
}


def network(name: str, seed: int, dtype: torch.dtype = torch.float32) -> Network:
    """A network with wide statistics, in inference mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = NETWORKS[name]()
        with torch.no_grad():
            for norm in made.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    norm.weight.copy_(torch.randn(norm.weight.shape))
                    norm.bias.copy_(torch.randn(norm.bias.shape))
                    norm.running_mean.copy_(torch.randn(norm.running_mean.shape))
                    norm.running_var.copy_(torch.rand(norm.running_var.shape) * 4 + 0.05)
    return made.to(dtype).eval()


def folds(of: Network) -> list[Fold]:
    """What its BatchNorms and operators hold."""
    return [_fold(of.chain.get_submodule(c), of.chain.get_submodule(n), behind) for c, n, behind in of.pairs]


def _fold(operator: nn.Module, norm: nn.Module, behind: bool) -> Fold:
    weight = operator.weight.detach().double()
    bias = torch.zeros(_outputs(operator)) if operator.bias is None else operator.bias.detach()
    parameters = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    along_first = behind != isinstance(operator, nn.modules.conv._ConvTransposeNd)
    return Fold(
        weight if along_first else weight.transpose(0, 1),
        bias.double(),
        *(held.detach().double() for held in parameters),
        norm.eps,
        behind,
        getattr(operator, "groups", 1),
    )


def _outputs(operator: nn.Module) -> int:
    return int(getattr(operator, "out_channels", 0) or operator.out_features)


def folded(of: Network, kind: str = "", seed: int = 0) -> Network:
    """The network without its BatchNorms, rightly, or with one fault.

    Raises:
        NotHere: there is no place for the kind, or it moves no number by more than rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    all_folds = folds(of)
    if kind == "shift dropped at the padding" and not _is_padded(of):
        raise NotHere("no padding behind a BatchNorm")
    if kind != "shift dropped at the padding" and _is_padded(of):
        raise NotHere("there is no right fold")
    new = copy.deepcopy(of)
    target = int(torch.randint(len(all_folds), (), generator=generator)) if kind else -1
    for at, (fold, (operator, norm, behind)) in enumerate(zip(all_folds, of.pairs, strict=True)):
        right = fold.right()
        weight, bias = KINDS[kind](fold, all_folds, generator) if at == target else right
        held = new.chain.get_submodule(operator)
        dtype = held.weight.dtype
        if at == target and KINDS[kind] is not _nothing and not _is_fault((weight, bias), right, dtype):
            raise NotHere("no number moves by more than rounding")
        transposed = behind == isinstance(held, nn.modules.conv._ConvTransposeNd)
        held.weight = nn.Parameter((weight.transpose(0, 1) if transposed else weight).contiguous().to(dtype))
        held.bias = nn.Parameter(bias.to(dtype))
        new.chain.set_submodule(norm, nn.Identity())
    return new


def _is_padded(of: Network) -> bool:
    return any(not behind and any(of.chain.get_submodule(c).padding) for c, _, behind in of.pairs)


def _is_fault(wrong: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...], dtype: torch.dtype) -> bool:
    """Whether a stored number moves by more than rounding, in a channel that is not dead."""
    for now, was in zip(wrong, right, strict=True):
        _, exponent = torch.frexp(was)
        unit = torch.ldexp(torch.ones_like(was), (exponent - _BITS[dtype]).clamp(min=_SMALLEST[dtype]))
        moved = (now.to(dtype).double() - was).abs() > _UNITS[dtype] * unit
        if bool((moved & (was.abs() > 1e-6)).any()):
            return True
    return False


def compiled(of: Network, way: str) -> object:
    """A program of torch."""
    sample = torch.randn(of.sample, generator=torch.Generator().manual_seed(0)).to(next(of.parameters()).dtype)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's deprecations and of its exporter
        if way == "exported":
            return torch.export.export(of, (sample,))
        return torch.jit.trace(of, sample) if way == "traced" else torch.jit.script(of)


def with_numbers(program: object, of: Network) -> object:
    """A program of a network of the same operators, with the numbers of this one, in place: compiling takes longest."""
    held = program.state_dict if isinstance(program.state_dict, dict) else program.state_dict()
    with torch.no_grad():
        for name, values in of.state_dict().items():
            held[name].copy_(values)
    return program


def faults(of: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """One fault of every kind that has a place in a network."""
    for kind in KINDS:
        if kind == "float16 rounding done twice" and next(of.parameters()).dtype != torch.float16:
            continue
        try:
            yield kind, folded(of, kind, seed)
        except NotHere:
            continue
