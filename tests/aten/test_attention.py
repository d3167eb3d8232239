"""scaled_dot_product_attention: a softmax forgets, and its rows sum to 1."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

WIDTH = 4


class Attended(nn.Module):
    """Attention whose queries, keys and values are projections; a BatchNorm behind it."""

    def __init__(self, heads=2, mask=False, **how):
        super().__init__()
        self.heads, self.how = heads, how
        self.projections = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in "qkv"})
        self.norm = nn.BatchNorm1d(WIDTH)
        self.register_buffer("mask", torch.ones(3, 3, dtype=torch.bool) if mask else None)

    def forward(self, x):
        parts = (layer(x) for layer in self.projections.values())
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, **self.how)
        return self.norm(y.transpose(1, 2).flatten(-2).transpose(1, 2))


def folded(*args, **how):
    x = torch.randn(2, 3, WIDTH)
    program = export(randomised(Attended(*args, **how)), x)
    result = fold(program)
    assert_same(program, result.model, x)
    return result


@pytest.mark.parametrize(("heads", "how"), [(1, {"is_causal": True}), (2, {}), (2, {"scale": 0.3})], ids=str)
def test_a_batch_norm_behind_it_goes_to_the_values(heads, how):
    assert counts(folded(heads, **how)) == (1, 0)


def test_behind_a_mask_the_weights_need_not_sum_to_1():
    assert reasons(folded(mask=True)) == [Reason.SHIFT_CANNOT_PASS]


class Shifted(nn.Module):
    """Shifts in front of the keys and of the values, which a bias of their own could not take."""

    def __init__(self, mask=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", torch.ones(3, 3, dtype=torch.bool) if mask else None)
        for name in "qkv":
            self.register_buffer(name, torch.randn(WIDTH, WIDTH))

    def forward(self, x):
        n = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y = nn.functional.scaled_dot_product_attention(x @ self.q, n @ self.k, n @ self.v, attn_mask=self.mask)
        return self.out(y)


def operators_of(result):
    return [node.target.__name__ for node in result.model.graph.nodes if node.op == "call_function"]


def test_keys_and_values_need_no_addition():
    x = torch.randn(2, 3, WIDTH)
    program = export(randomised(Shifted()), x)
    result = fold(program)
    assert_same(program, result.model, x)
    assert counts(result) == (1, 0)
    assert not any("add" in name for name in operators_of(result))


def test_behind_a_mask_the_keys_need_none_and_the_values_do():
    x = torch.randn(2, 3, WIDTH)
    program = export(randomised(Shifted(mask=True)), x)
    result = fold(program)
    assert_same(program, result.model, x)
    assert counts(result) == (1, 0)
    assert sum("add" in name for name in operators_of(result)) == 1
