"""Scripts whose values are more than tensors: lists that grow, tasks of their own, results without a value."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import Tensor, nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from bnfold.verifier.programs.check import check_torch  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, reloaded  # noqa: E402


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(4)


class GrowingList(Base):
    """An element of the list is read while the list still grows."""

    def forward(self, x) -> list[Tensor]:
        found: list[Tensor] = []
        y = self.norm(self.conv(x))
        found.append(y)
        found.append(self.norm2(self.conv2(y)))
        found.append(found[0] + found[1])
        return found


class OwnTask(Base):
    def forward(self, x):
        task: torch.jit.Future[Tensor] = torch.jit.fork(self.conv, x)
        return self.norm2(self.conv2(torch.jit.wait(task)))


class ReturnsEarly(Base):
    def forward(self, x):
        y = self.norm(self.conv(x))
        if bool(x.sum() > 1e9):
            return y
        return self.norm2(self.conv2(y))


@pytest.mark.parametrize(("kind", "folds"), [(GrowingList, 2), (OwnTask, 1), (ReturnsEarly, 2)])
def test_correct_folds_pass(kind, folds):
    torch.manual_seed(0)
    module = compiled(randomised(kind()), "scripted")
    report = bnfold.fold(module, verify=VerifyOptions(samples=1, shapes={"x": (2, 3, 8, 8)})).report
    assert report.batch_norms.folded == folds
    assert report.verification.passed
    assert not [text for text in report.verification.warnings if "Uninitialized" in text]


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_a_norm_that_changes_next_to_nothing(way):
    """The rank that the code asks for is the same before and behind it, and says nothing of the values."""
    torch.manual_seed(0)
    layers = (nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm1d(4))
    module = compiled(nn.Sequential(*layers).eval(), way, torch.randn(8, 4))
    report = bnfold.fold(module, verify=VerifyOptions(samples=1, shapes={"input": (8, 4)})).report
    assert report.batch_norms.folded == 2
    assert report.verification.passed


class SeldomTaken(Base):
    """No sample and no value of the check takes the first branch."""

    def forward(self, x):
        y = self.norm(self.conv(x))
        if float(y.mean()) > 1e9:
            y = torch.tanh(self.conv2(torch.relu(y)))
        return y


def test_a_wrong_weight_in_a_branch_that_nothing_takes():
    torch.manual_seed(0)
    module = compiled(randomised(SeldomTaken()), "scripted")
    options = VerifyOptions(samples=1, shapes={"x": (2, 3, 8, 8)})
    result = bnfold.fold(module, verify=options)
    assert result.report.verification.passed
    assert result.report.batch_norms.folded == 1
    result.model.conv2.weight.data[1] *= 1.01
    assert not check_torch(module, result.model, options).passed


class Several(Base):
    """What it returns as a whole is one value of the script, in which the results have to be found."""

    def forward(self, x):
        y = self.norm(self.conv(x))
        return y, (y.sum(3), self.norm2(self.conv2(y)))


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_results_in_tuples_are_looked_at_one_by_one(way):
    torch.manual_seed(0)
    module = compiled(randomised(Several()), way, torch.randn(2, 3, 8, 8))
    options = VerifyOptions(samples=1, shapes={"x": (2, 3, 8, 8)})
    result = bnfold.fold(module, verify=options)
    assert not [text for text in result.report.verification.warnings if "not run alone" in text]
    result.model.conv2.weight.data[1] *= 1.0001
    wrong = [tensor for tensor in check_torch(module, result.model, options).tensors if not tensor.passed]
    assert len(wrong) == 1


class Recurrent(nn.Module):
    """Its weights are one constant for TorchScript, a list."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(40, 40, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
def test_one_number_in_a_list_of_weights(name):
    torch.manual_seed(0)
    module = compiled(Recurrent().eval(), "scripted")
    wrong = reloaded(module)
    with torch.no_grad():
        getattr(wrong.rnn, name)[80, 20] *= 1.01
    verdict = check_torch(module, wrong, VerifyOptions(samples=1, shapes={"x": (2, 7, 40)}))
    assert not verdict.warnings, "the part runs alone"
    assert any(tensor.excess > 10 for tensor in verdict.tensors)
