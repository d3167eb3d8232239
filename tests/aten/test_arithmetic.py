"""Arithmetic folds under all the names that it has."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.frontends.aten.operators.table import OPERATORS  # noqa: E402
from tests.torch_export.folding import assert_same, export, fold  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402

NAMES = sorted(name for name, row in OPERATORS.items() if row.may_be_affine and "norm" not in name)
_CONSTANT = torch.tensor([1.5, -0.5, 2.0, 4.0]).reshape(4, 1, 1)
X = torch.randn(2, 3, 5, 5)


class Scaled(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.name = name
        self.register_buffer("constant", _CONSTANT)

    def forward(self, x):
        return getattr(torch.ops.aten, self.name)(self.conv(x), self.constant)


@pytest.mark.parametrize("name", NAMES)
def test_folds_under_every_name_when_exported(name):
    program = export(Scaled(name.removeprefix("aten::")).eval(), X)
    assert [node.target._schema.name for node in program.graph.nodes if node.op == "call_function"][-1] == name
    result = fold(program, affine=True)
    assert len(result.report.outcome.folds) == 1
    assert_same(program, result.model, X)


BY_PEOPLE = {
    "aten::add": torch.add,
    "aten::sub": torch.sub,
    "aten::subtract": torch.subtract,
    "aten::mul": torch.mul,
    "aten::multiply": torch.multiply,
    "aten::div": torch.div,
    "aten::divide": torch.divide,
    "aten::true_divide": torch.true_divide,
    "aten::rsub": torch.rsub,
}


@pytest.mark.parametrize("name", NAMES)
def test_folds_under_every_name_when_traced(name):
    class Traced(Scaled):
        def forward(self, x):
            return BY_PEOPLE[name](self.conv(x), self.constant)

    assert len(fold_and_compare(compiled(Traced(name).eval(), "traced", X), X).folds) == 1
