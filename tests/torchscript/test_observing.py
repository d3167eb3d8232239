"""What running a script shows of its tensors: in bodies, behind code that raises or returns early, in loops."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.frontends.torchscript.prepare import prepare  # noqa: E402
from bnfold.frontends.torchscript.shapes import observe  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402

X = torch.randn(2, 3, 6, 6)


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)


class Raises(Base):
    def forward(self, x):
        if x.size(1) == 3:
            scaled = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        else:
            raise ValueError("three channels, please")
        return self.norm(self.conv(scaled))


class ReturnsEarly(Base):
    def forward(self, x):
        if bool(x.sum() > 1e9):
            return x
        return self.norm(self.conv(x))


class InOneBranch(Base):
    def forward(self, x):
        y = x
        if bool(x.sum() > -1e9):
            y = self.norm(self.conv(x))
        return torch.relu(y)


class Grows(nn.Module):
    def forward(self, x):
        y = x
        for _ in range(2):
            y = torch.cat([y, x], 1)
        return torch.sigmoid(y)


class LosesAnAxis(nn.Module):
    def forward(self, x):
        y = x
        for _ in range(2):
            y = torch.relu(y).sum(0)
        return y


@pytest.mark.parametrize("kind", [Raises, ReturnsEarly, InOneBranch])
def test_folds_in_scripts_that_raise_return_early_or_branch(kind):
    torch.manual_seed(0)
    assert fold_and_compare(compiled(randomised(kind()), "scripted"), X).batch_norms_folded == 1


def forms_of(module, x):
    prepared = prepare(compiled(module.eval(), "scripted"))
    return prepared.graph, observe(prepared, [x])


def results(graph, kind):
    return [node.output().debugName() for node in graph.findAllNodes(kind)]


def test_tensors_in_a_body_are_seen():
    graph, forms = forms_of(InOneBranch(), X)
    (conv,) = results(graph, "aten::conv2d")
    batch, channels, height, width = forms[conv].shape
    assert channels == 3
    assert all(isinstance(length, str) for length in (batch, height, width))
    assert forms[conv].dtype == torch.float32


def test_a_body_that_was_never_run_says_nothing():
    class Never(Base):
        def forward(self, x):
            if bool(x.sum() > 1e9):
                return self.norm(self.conv(x))
            return x

    graph, forms = forms_of(Never(), X)
    assert not {*results(graph, "aten::conv2d")} & set(forms)


def test_a_body_that_ran_only_for_some_sizes_fixes_none():
    class Sometimes(nn.Module):
        def forward(self, x):
            y = x
            if x.size(0) == 2:
                y = torch.sigmoid(x)
            return y

    graph, forms = forms_of(Sometimes(), X)
    (inner,) = results(graph, "aten::sigmoid")
    assert len(forms[inner].shape) == 4
    assert not any(isinstance(length, int) for length in forms[inner].shape)


def test_what_grows_in_a_loop_has_a_name_for_its_length():
    graph, forms = forms_of(Grows(), X)
    (inner,) = results(graph, "aten::cat")
    assert isinstance(forms[inner].shape[1], str)


def test_a_rank_that_changes_is_none():
    graph, forms = forms_of(LosesAnAxis(), X)
    (inner,) = results(graph, "aten::relu")
    assert forms[inner].shape is None
