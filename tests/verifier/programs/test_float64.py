"""What float64 settles of results in doubt in programs of torch, and what it does not."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.verification import VerifyOptions  # noqa: E402
from bnfold.verifier.compare.tolerance import LIMITS  # noqa: E402
from bnfold.verifier.programs.check import check_torch  # noqa: E402
from bnfold.verifier.programs.float64 import Float64Reference, InFloat64  # noqa: E402
from bnfold.verifier.programs.opening import open_program  # noqa: E402
from bnfold.verifier.programs.parts.prove import Prover  # noqa: E402
from tests.faults.programs import WAYS, compiled, faults, folded, network  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

IMAGE = torch.randn(2, 3, 66, 66, generator=torch.Generator().manual_seed(5))
SINGLE = LIMITS[np.dtype(np.float32)]


class Coarse(nn.Module):
    """It loses most of its digits behind its weights: two roundings of them are whole steps apart."""

    sample = tuple(IMAGE.shape)

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.register_buffer("cache", torch.zeros(2, 4, 64, 64))
        randomised(self)
        with torch.no_grad():  # what is taken away again costs the original digits, and not the folded one
            self.conv.bias += 1000
            self.norm.running_mean += 1000
        self.scale = 2.0**21

    def forward(self, x):
        y = self.norm(self.conv(x))
        y = (y + self.scale) - self.scale
        return self.left(y)

    def left(self, y):
        return y


class CoarseState(Coarse):
    def left(self, y):
        self.cache.copy_(y)
        return y.new_zeros(2)


class CoarseParts(Coarse):
    def left(self, y):
        return y, (y.sum(3), y.sum(2))


class CoarseInInference(Coarse):
    def left(self, y):
        return nn.functional.dropout(y, 0.5, training=False)


class CoarseNoise(Coarse):
    def left(self, y):
        return y + torch.rand_like(y)


def by_hand(module, factor=1.0):
    """Its BatchNorm folded; the factor is a fault in one channel."""
    module = copy.deepcopy(module)
    conv, norm = module.conv, module.norm
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    with torch.no_grad():
        bias = (conv.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
        conv.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        conv.weight[1] *= factor
        conv.bias.copy_(bias)
    module.norm = nn.Identity()
    return module


class Asked:
    """An original that others are held against; it is called and observed once."""

    def __init__(self, original, leaves, limits=SINGLE):
        self.program, self.leaves, self.limits = open_program("the original", original), leaves, limits
        self.call, self.graph = self.program.calls([leaves])[0], self.program.graph()
        self.observed = self.program.observe(self.graph, leaves)

    def doubts(self, new):
        """Of every result of the first call."""
        program = open_program("the new program", new)
        ours, theirs = self.call, program.calls([self.leaves])[0]
        values = {name: (value, theirs.results[name]) for name, value in ours.results.items()}
        values |= {name: (ours.left[name], theirs.left[name]) for name in ours.changed}
        truth = Float64Reference(self.program, program, Prover(self.graph, program.graph(), self.observed).run().equal)
        return {name: truth.compare(name, self.leaves, pair, self.limits).doubt for name, pair in values.items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "scale"), [(Coarse, 2.0**21), (Coarse, 2.0**23), (CoarseParts, 2.0**21)])
def test_results_that_lose_their_digits_are_equal_where_they_are_in_float64(kind, scale, way, monkeypatch):
    original = kind()
    original.scale = scale
    ours, theirs = compiled(original, way), compiled(by_hand(original), way)
    options = VerifyOptions(inputs={"x": IMAGE.numpy()})
    verdict = check_torch(ours, theirs, options)
    assert verdict.passed, verdict
    assert any("in float64" in warning for warning in verdict.warnings)
    monkeypatch.setattr(Float64Reference, "compare", lambda *_: InFloat64(None, "nobody asked"))
    assert not check_torch(ours, theirs, options).passed


@pytest.mark.parametrize("way", WAYS)
def test_an_operator_that_draws_nothing_is_not_random(way):
    original = CoarseInInference()
    verdict = check_torch(
        compiled(original, way), compiled(by_hand(original), way), VerifyOptions(inputs={"x": IMAGE.numpy()})
    )
    assert verdict.passed, verdict


@pytest.mark.parametrize("way", WAYS)
def test_what_is_equal_part_by_part_and_has_no_float64_is_not_called_wrong(way):
    original = CoarseNoise()
    options = VerifyOptions(inputs={"x": IMAGE.numpy()})
    verdict = check_torch(compiled(original, way), compiled(by_hand(original), way), options)
    assert verdict.status == "unchecked", verdict
    assert "equality cannot be shown, float64 has no word: random numbers are others in float64" in verdict.problem
    assert check_torch(compiled(original, way), compiled(by_hand(original, 1.0003), way), options).status == "failed"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_first_call_leaves_is_asked_as_well(way):
    original = CoarseState()
    right, wrong = (compiled(by_hand(original, factor), way) for factor in (1.0, 1.01))
    asked = Asked(compiled(original, way), [IMAGE])
    assert asked.doubts(right)["state cache"] == ""
    assert asked.doubts(wrong)["state cache"]


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_fold_is_none_in_float64(way):
    original = Coarse()
    ours, theirs = compiled(original, way), compiled(by_hand(original, 1.0003), way)
    assert not check_torch(ours, theirs, VerifyOptions(shapes={"x": Coarse.sample})).passed
    found = Asked(ours, [IMAGE]).doubts(theirs)
    assert "not found equal part by part" in found["output"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["grouped", "linear", "residual"])
def test_the_catalogue_of_faults(name, way):
    original = network(name, 0, torch.float32)
    leaves = [torch.randn(original.sample, generator=torch.Generator().manual_seed(1))]
    asked = Asked(compiled(original, way), leaves)
    assert asked.doubts(compiled(folded(original), way)) == {"output": ""}
    for kind, faulty in faults(original, 0):
        assert asked.doubts(compiled(faulty, way))["output"], kind


@pytest.mark.parametrize("name", ["stack", "1-d", "downstream"])
def test_the_catalogue_of_faults_in_half_precision(name):
    limits = LIMITS[np.dtype(np.float16)]
    original = network(name, 0, torch.float16)
    leaves = [torch.randn(original.sample, generator=torch.Generator().manual_seed(1)).half()]
    asked = Asked(compiled(original, "traced"), leaves, limits)
    assert asked.doubts(compiled(folded(original), "traced")) == {"output": ""}
    expected = original(*leaves)
    beyond = 0
    for kind, faulty in faults(original, 0):
        if (faulty(*leaves) - expected).abs().max() > limits.floor * expected.abs().max():  # or nobody asks
            beyond += 1
            assert asked.doubts(compiled(faulty, "traced"))["output"], kind
    assert beyond


class Narrowed(nn.Module):
    """Equal to a convolution, but for the type that it computes in."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.dtype, self.sample = nn.Conv2d(3, 4, 3), dtype, tuple(IMAGE.shape)

    def forward(self, x):
        return self.conv(x).to(self.dtype).float()


ROLES = {"the original": torch.float32, "the new program": torch.float16}


@pytest.mark.parametrize("way", ["traced", "exported"])
def test_what_is_less_exact_in_its_own_precision_is_not_equal(way):
    pair = [compiled(Narrowed(dtype), way) for dtype in (torch.float32, torch.float16)]
    assert "off what it is in float64" in Asked(pair[0], [IMAGE]).doubts(pair[1])["output"]


def test_parts_are_compared_on_the_same_values_where_equal_ones_stand_at_other_operators():
    """The conversions to float32 are put side by side, though one is the first of two and one the second."""
    programs = [open_program(role, compiled(Narrowed(dtype), "traced")) for role, dtype in ROLES.items()]
    graphs = [program.graph() for program in programs]
    proof = Prover(*graphs, programs[0].observe(graphs[0], [IMAGE])).run()
    assert all(check.passed for check in proof.checks)
    assert proof.equal == {"output"}


class Noisy(Narrowed):
    def forward(self, x):
        return self.conv(x + torch.rand_like(x))


def test_random_numbers_are_others_in_float64():
    pair = [compiled(Noisy(torch.float32), "exported") for _ in range(2)]
    assert Asked(pair[0], [IMAGE]).doubts(pair[1]) == {
        "output": "float64 has no word: random numbers are others in float64"
    }
