"""Weights that programs compute from their parameters alone: constants, evaluated once where a fold needs them."""

import warnings
from copy import deepcopy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

import bnfold  # noqa: E402
from bnfold.api import VerifyOptions  # noqa: E402
from bnfold.refusal import Reason  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Standardised(nn.Conv2d):
    """As in BiT and NFNet: the weight has mean 0 and variance 1 per output, by a BatchNorm in training mode."""

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0, eps=1e-6).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias)


class StandardisedByHand(nn.Conv2d):
    def forward(self, x):
        var, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        return F.conv2d(x, (self.weight - mean) / torch.sqrt(var + 1e-6), self.bias)


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).transpose(-1, -2)


def parametrized(conv, parametrization):
    parametrize.register_parametrization(conv, "weight", parametrization)
    return conv


def quietly(function, module, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old forms say that they are old
        return function(module, **options)


CONVS = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 5, 3)),
    "weight norm over another axis": lambda: parametrizations.weight_norm(nn.Conv2d(3, 5, 3), dim=1),
    "weight norm over all": lambda: parametrizations.weight_norm(nn.Conv2d(3, 5, 3, bias=False), dim=None),
    "old weight norm": lambda: quietly(nn.utils.weight_norm, nn.Conv2d(3, 5, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 5, 3)),
    "standardised": lambda: Standardised(3, 5, 3),
    "standardised by hand": lambda: StandardisedByHand(3, 5, 3),
    "symmetric": lambda: parametrized(nn.Conv2d(3, 5, 5), Symmetric()),
}


def network(name):
    torch.manual_seed(0)
    return randomised(nn.Sequential(CONVS[name](), nn.BatchNorm2d(5), nn.Tanh(), nn.Conv2d(5, 2, 1)))


@pytest.mark.parametrize("form", ["exported", "decomposed"])
@pytest.mark.parametrize("name", CONVS)
def test_a_computed_weight_takes_a_map(name, form):
    x = seeded(2, 3, 6, 6)
    program = export(network(name), x, decomposed=form == "decomposed")
    result = fold(program)
    assert result.report.batch_norms.kept == 0
    assert_same(program, result.model, x)
    operators = [str(node.target) for node in result.model.graph.nodes if node.op == "call_function"]
    assert len(operators) == 3, operators
    names = {name.removesuffix("_folded") for name in result.model.state_dict}
    assert names == {"0.weight", "0.bias", "3.weight", "3.bias"}


@pytest.mark.parametrize("name", [name for name in CONVS if name not in ("spectral norm",)])
def test_in_a_trace(name):
    x = seeded(2, 3, 6, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network(name), x)
    result = bnfold.fold(traced, verify=VerifyOptions(samples=1, shapes={"input": (2, 3, 6, 6)}))
    assert result.report.batch_norms.kept == 0
    assert result.report.verification.passed
    assert_equal_results(traced(x), result.model(x))


def test_without_a_fold_nothing_is_computed_before_its_time():
    torch.manual_seed(0)
    program = export(
        nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 5, 3)), nn.Tanh()).eval(), seeded(1, 3, 6, 6)
    )
    result = fold(program)
    assert "_weight_norm" in str(result.model.graph)
    assert result.model.state_dict.keys() == program.state_dict.keys()


class Shared(nn.Module):
    """One computed weight, read by two convolutions and returned."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)

    def forward(self, x):
        with parametrize.cached():
            return self.conv(torch.tanh(self.norm(self.conv(x)))), self.conv.weight * 1.0


def test_a_computed_weight_that_others_read_stays_for_them():
    x = seeded(2, 3, 6, 6)
    program = export(randomised(Shared()), x)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


class Drawn(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.ones(4, 3, 1, 1)), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(F.conv2d(x, self.weight + torch.randn(4, 3, 1, 1)))


class Moving(nn.Module):
    """The weight is made of a buffer that every call changes."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("weight", torch.ones(4, 3, 1, 1))

    def forward(self, x):
        y = self.norm(F.conv2d(x, self.weight * 2))
        self.weight.add_(1)
        return y


def test_what_changes_from_call_to_call_is_no_constant():
    result = fold(export(randomised(Drawn()), seeded(1, 3, 4, 4)))
    assert reasons(result) == [Reason.DYNAMIC_WEIGHT]


def test_what_multiplies_a_weight_that_changes_takes_the_scale():
    """The buffer itself is no constant, and is not touched: three calls see three weights."""
    x = seeded(1, 3, 4, 4)
    program = export(randomised(Moving()), x)
    result = fold(program)
    assert counts(result) == (1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's pytree, which copying calls
        before, after = (deepcopy(entry).module() for entry in (program, result.model))
    for _ in range(3):
        torch.testing.assert_close(after(x), before(x), rtol=1e-4, atol=1e-4)
