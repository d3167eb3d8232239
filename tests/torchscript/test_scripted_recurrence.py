"""Scripted nn.LSTM, GRU and RNN: they choose branches by rank, and keep their weights in a list."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.api import VerifyOptions  # noqa: E402
from bnfold.refusal import Reason  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import deprecations_silenced  # noqa: E402


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def folded(module, shape, **options):
    torch.manual_seed(0)
    with deprecations_silenced():
        script = torch.jit.script(randomised(module))
        return script, bnfold.fold(script, verify=VerifyOptions(samples=2, shapes={"x": shape}), **options)


class Network(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.norm, self.rnn = nn.BatchNorm1d(6), getattr(nn, kind)(6, 4, batch_first=True, **options)

    def forward(self, x):
        return self.rnn(self.norm(torch.tanh(x)).transpose(1, 2))[0]


KINDS = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 3}),
    ("GRU", {"bidirectional": True}),
    ("RNN", {"nonlinearity": "relu"}),
    ("RNN", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda entry: str(entry))
def test_it_takes_what_is_in_front_of_it(kind, options, tmp_path):
    script, result = folded(Network(kind, **options), (2, 6, 5))
    assert (result.report.batch_norms.folded, result.report.batch_norms.kept) == (1, 0)
    x = seeded(3, 6, 7)
    assert_equal_results(script(x), result.model(x))
    with deprecations_silenced():
        torch.jit.save(result.model, str(tmp_path / "out.pt"))
        again = torch.jit.load(str(tmp_path / "out.pt"))
    torch.testing.assert_close(again(x), result.model(x), rtol=0, atol=0)


class Listed(nn.Module):
    """A list of weights that forward alone reads."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.w, self.u = nn.Parameter(torch.randn(12, 6)), nn.Parameter(torch.randn(12, 4))
        self.b, self.c = nn.Parameter(torch.randn(12)), nn.Parameter(torch.randn(12))
        self.weights = [self.w, self.u, self.b, self.c]

    def forward(self, x):
        y, start = self.norm(torch.tanh(x)).transpose(1, 2), torch.zeros(1, x.shape[0], 4)
        return torch.gru(y, start, self.weights, True, 1, 0.0, False, False, True)[0]


def test_a_list_follows_its_parameters(tmp_path):
    script, result = folded(Listed(), (2, 6, 5))
    assert result.report.batch_norms.folded == 1
    assert torch.equal(script.weights[0], script.w)
    assert not torch.equal(script.w, result.model.w)
    with deprecations_silenced():
        torch.jit.save(result.model, str(tmp_path / "out.pt"))
        again = torch.jit.load(str(tmp_path / "out.pt"))
    x = seeded(3, 6, 7)
    assert_equal_results(script(x), again(x))
    for held, parameter in zip(again.weights, (again.w, again.u, again.b, again.c), strict=True):
        assert held.data_ptr() == parameter.data_ptr()


class Twice(nn.Module):
    """One recurrent module behind two different BatchNorms."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, x):
        y = self.rnn(self.first(torch.tanh(x)).transpose(1, 2))[0]
        return self.rnn(self.second(torch.tanh(y).transpose(1, 2)).transpose(1, 2))[0]


def test_shared_weights_are_copied():
    script, result = folded(Twice(), (2, 6, 5))
    assert result.report.batch_norms.kept == 0
    x = seeded(2, 6, 7)
    assert_equal_results(script(x), result.model(x))


class Exported(nn.Module):
    """Another method reads the weights that forward would change."""

    def __init__(self):
        super().__init__()
        self.norm, self.rnn = nn.BatchNorm1d(6), nn.GRU(6, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(self.norm(torch.tanh(x)).transpose(1, 2))[0]

    @torch.jit.export
    def plain(self, x):
        return self.rnn(x.transpose(1, 2))[0]


def test_another_method_keeps_its_weights():
    script, result = folded(Exported(), (2, 6, 5))
    x = seeded(2, 6, 7)
    assert_equal_results(script(x), result.model(x))
    torch.testing.assert_close(result.model.plain(x), script.plain(x), rtol=0, atol=0)


class Chosen(nn.Module):
    """By rank, with a BatchNorm in the branch and one behind it; and by values."""

    def __init__(self):
        super().__init__()
        self.a, self.first = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.b, self.second, self.third = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.a(x)
        if x.dim() in [3, 4] and not x.dim() == 3:  # noqa: SIM201, SIM108 - every operator that is read
            y = torch.tanh(self.first(y))
        else:
            y = y.unsqueeze(0)
        y = self.second(self.b(y))
        if float(y.sum()) > 1e9:
            y = self.third(y)
        return torch.tanh(y)


def test_a_branch_that_ranks_choose_is_straight_code_and_one_that_values_choose_is_not():
    script, result = folded(Chosen(), (2, 3, 4, 4))
    folds = {fold.node.rpartition(" ")[0] or fold.node for fold in result.report.outcome.folds}
    assert result.report.batch_norms.folded == 2, folds
    (kept,) = [kept for kept in result.report.outcome.kept if kept.is_batch_norm]
    assert kept.refusals[0].reason in (Reason.UNKNOWN_SHAPE, Reason.OTHER_CONSUMERS, Reason.GRAPH_OUTPUT)
    x = seeded(2, 3, 4, 4)
    assert_equal_results(script(x), result.model(x))


class OtherRanks(nn.Module):
    """The branch for other ranks computes something else with the same parameters, and has a BatchNorm of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        if x.dim() == 4:  # noqa: SIM108 - a statement, not a choice of values
            y = self.first(self.conv(x))
        else:
            y = self.second(self.conv(x.unsqueeze(0)) + 1)[0]
        return torch.tanh(y)


def test_the_branch_for_other_ranks_goes_on_as_it_was():
    script, result = folded(OtherRanks(), (2, 3, 4, 4))
    assert result.report.batch_norms.folded + result.report.batch_norms.kept == 2
    for x in (seeded(2, 3, 4, 4), seeded(3, 4, 4)):
        assert_equal_results(script(x), result.model(x))


class BehindTheNorm(nn.Module):
    """What a BatchNorm makes is read in the branch for other ranks, too."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)

    def forward(self, x, flat: bool = False):
        y = self.norm(torch.tanh(x))
        z = y.mean([2, 3]) if flat else y
        if z.dim() == 4:  # noqa: SIM108 - as above
            z = self.conv(z)
        else:
            z = torch.sigmoid(z)
        return torch.tanh(z)


def test_what_the_branch_for_other_ranks_reads_keeps_its_values():
    script, result = folded(BehindTheNorm(), (2, 3, 4, 4))
    x = seeded(2, 3, 4, 4)
    for flat in (False, True):
        assert_equal_results(script(x, flat), result.model(x, flat))
