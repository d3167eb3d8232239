"""Instance normalisations, as exported and as torch's decompositions write them: with a BatchNorm in the middle."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

BOTH = pytest.mark.parametrize("decomposed", [False, True], ids=["as exported", "decomposed"])


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def with_statistics(norm):
    generator = torch.Generator().manual_seed(1)
    for name, tensor in norm.state_dict().items():
        if tensor.dim():
            values = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(values.abs() + 0.1 if name == "running_var" else values)
    return norm


@BOTH
@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("batch", [1, 2])
def test_it_takes_what_is_behind_it(batch, affine, decomposed):
    x = seeded(batch, 3, 6, 6)
    norm = with_statistics(nn.InstanceNorm2d(4, affine=affine))
    program = export(randomised(nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.BatchNorm2d(4))), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


@BOTH
@pytest.mark.parametrize("behind", [False, True], ids=["into what is before", "into what is behind"])
def test_with_running_statistics_it_is_an_affine_map(behind, decomposed):
    x = seeded(2, 3, 6, 6)
    norm = with_statistics(nn.InstanceNorm2d(3, affine=True, track_running_stats=True))
    chain = (nn.Tanh(), norm, nn.Conv2d(3, 4, 3)) if behind else (nn.Conv2d(3, 3, 1), norm, nn.Tanh())
    program = export(nn.Sequential(*chain).eval(), x, decomposed=decomposed)
    result = fold(program)
    assert not result.report.batch_norms.found
    assert [entry.op for entry in result.report.outcome.folds if not entry.is_batch_norm]
    assert not any("norm" in str(node.target) for node in result.model.graph.nodes)
    assert_same(program, result.model, x)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_decomposed_one_is_not_called_a_batch_norm(dynamic):
    x = seeded(2, 3, 6, 6)
    shapes = ({0: torch.export.Dim("batch", min=2, max=8)},) if dynamic else None
    module = nn.Sequential(nn.InstanceNorm2d(3, affine=True), nn.Tanh(), nn.InstanceNorm2d(3)).eval()
    program = export(module, x, decomposed=True, dynamic_shapes=shapes)
    assert any("batch_norm" in str(node.target) for node in program.graph.nodes)
    assert counts(fold(program)) == (0, 0)


def test_behind_a_batch_of_unknown_size_the_lengths_are_the_reason():
    x = seeded(2, 3, 6, 6)
    module = randomised(nn.Sequential(nn.InstanceNorm2d(3), nn.BatchNorm2d(3), nn.Tanh()))
    dynamic = ({0: torch.export.Dim("batch", min=2, max=8)},)
    result = fold(export(module, x, decomposed=True, dynamic_shapes=dynamic))
    assert reasons(result) == [Reason.UNKNOWN_SHAPE]


@pytest.mark.parametrize("shared", [False, True], ids=["own parameters", "shared parameters"])
def test_behind_a_batch_of_unknown_size_its_own_parameters_take_the_map(shared):
    x = seeded(2, 3, 6, 6)
    norm = with_statistics(nn.InstanceNorm2d(3, affine=True))
    layers = (norm, nn.BatchNorm2d(3), nn.Sigmoid()) if not shared else (norm, nn.BatchNorm2d(3), nn.Sigmoid(), norm)
    dynamic = ({0: torch.export.Dim("batch", min=2, max=8)},)
    program = export(randomised(nn.Sequential(*layers)), x, decomposed=True, dynamic_shapes=dynamic)
    result = fold(program)
    assert counts(result) == (1, 0)
    for batch in (2, 5):
        assert_same(program, result.model, seeded(batch, 3, 6, 6))


class OwnBatch(nn.Module):
    """A BatchNorm that trains, between views that do something else."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(x.reshape(4, 4, 9)).reshape(2, 8, 9)


@BOTH
def test_a_batch_norm_that_trains_stays_one(decomposed):
    result = fold(export(OwnBatch().eval(), seeded(2, 8, 9), decomposed=decomposed))
    assert reasons(result) == [Reason.TRAINING_MODE]
    assert not result.report.outcome.kept[0].refusals[0].hint
