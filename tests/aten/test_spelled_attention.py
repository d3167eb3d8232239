"""Attention in aten's products, masks and softmax: what it lets pass, and what it forgets."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402

WIDTH, TOKENS = 4, 3
X = (2, TOKENS, WIDTH)


class Attention(nn.Module):
    """Queries, keys and values are projections, of which some have no bias."""

    def __init__(self, mask="", scale="div", softmax=-1, dropout=0.0, heads=2, biases="q", batched=False, through=None):
        super().__init__()
        self.mask, self.scale, self.axis, self.heads, self.batched = mask, scale, softmax, heads, batched
        self.through = through
        self.projections = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH, bias=name in biases) for name in "qkv"})
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("hidden", torch.ones(TOKENS, TOKENS).triu(1).bool())
        self.register_buffer("added", torch.zeros(TOKENS, TOKENS).masked_fill(self.hidden, -torch.inf))
        self.register_buffer("never", torch.tensor(-torch.inf))

    def apart(self, name, x):
        part = self.projections[name](x)
        return part if self.batched else part.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def masked(self, scores):
        if self.mask == "fill":
            return scores.masked_fill(self.hidden, float("-inf"))
        if self.mask == "fill, finite":
            return scores.masked_fill(self.hidden, -1e4)
        if self.mask == "where":
            return torch.where(self.hidden, self.never, scores)
        return scores + self.added if self.mask == "add" else scores

    def attend(self, q, k, v):
        scores = (torch.bmm if self.batched else torch.matmul)(q, k.transpose(-2, -1))
        if self.scale:
            scores = scores / 1.5 if self.scale == "div" else scores * 0.7
        weights = self.dropout(self.masked(scores).softmax(self.axis))
        y = (weights if self.through is None else weights.to(self.through).to(v.dtype)) @ v
        return y if self.batched else y.transpose(1, 2).flatten(-2)

    def forward(self, x):
        return self.out(self.attend(*(self.apart(name, x) for name in "qkv")))


class Behind(Attention):
    """A BatchNorm behind what is attended."""

    def __init__(self, **how):
        super().__init__(**how)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x):
        return self.norm(self.attend(*(self.apart(name, x) for name in "qkv")).transpose(1, 2))


class InFront(Attention):
    """A BatchNorm in front of keys and values, whose shift has no bias to go to but what is behind."""

    def __init__(self, **how):
        super().__init__(**how)
        self.norm = nn.BatchNorm1d(WIDTH)
        for name in "kv":
            self.register_buffer(name, torch.randn(WIDTH, WIDTH))

    def apart(self, name, x):
        if name == "q":
            return super().apart(name, x)
        n = self.norm(x.transpose(1, 2)).transpose(1, 2)
        part = n @ getattr(self, name)
        return part if self.batched else part.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def folded(module, *, decomposed=False):
    x = torch.randn(X)
    program = export(randomised(module).eval(), x, decomposed=decomposed)
    result = fold(program)
    assert_same(program, result.model, x)
    return result


def additions(result):
    calls = [node.target.__name__ for node in result.model.graph.nodes if node.op == "call_function"]
    return sum(name.startswith("add.") for name in calls)


HOW = [{}, {"scale": "mul"}, {"scale": ""}, {"mask": "fill"}, {"mask": "where"}, {"mask": "add"}, {"dropout": 0.5},
       {"batched": True}, {"heads": 1}]  # fmt: skip


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_batch_norm_behind_it_goes_to_the_values(how):
    assert counts(folded(Behind(**how))) == (1, 0)


@pytest.mark.parametrize("how", HOW, ids=str)
def test_keys_and_values_need_no_bias(how):
    """The softmax forgets the shift of the keys; that of the values goes through to the projection behind."""
    result = folded(InFront(**how))
    assert counts(result) == (2, 0)
    assert additions(result) == (how.get("mask") == "add")


@pytest.mark.parametrize("mask", ["fill", ""])
def test_decomposed_programs_fold_as_well(mask):
    assert counts(folded(Behind(mask=mask), decomposed=True)) == (1, 0)


@pytest.mark.parametrize("how", [{"mask": "fill, finite"}, {"softmax": -2}], ids=str)
def test_a_softmax_that_sees_something_else_forgets_nothing(how):
    assert additions(folded(InFront(**how))) >= 1


def test_weights_sum_to_1_in_another_type_unless_that_is_of_integers():
    assert counts(folded(Behind(through=torch.float64))) == (1, 0)
    assert reasons(folded(Behind(through=torch.int32))) == [Reason.SHIFT_CANNOT_PASS]


def test_a_softmax_over_the_queries_has_no_rows_that_sum_to_1():
    assert reasons(folded(Behind(softmax=-2))) == [Reason.SHIFT_CANNOT_PASS]


class Seen(InFront):
    """The scores are an output as well."""

    def attend(self, q, k, v):
        scores = q @ k.transpose(-2, -1)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2), scores

    def forward(self, x):
        y, scores = self.attend(*(self.apart(name, x) for name in "qkv"))
        return self.out(y), scores


def test_scores_that_others_see_keep_what_is_added():
    result = folded(Seen())
    assert additions(result) >= 1


@pytest.mark.parametrize("scale", ["div", "mul"])
def test_the_number_that_scores_are_multiplied_with_stays(scale):
    """Compilers look for it: a pattern of attention has one."""
    result = folded(Attention(scale=scale))
    kept = [entry for entry in result.report.outcome.kept if entry.refusals[0].reason is Reason.SPELLED_OUT]
    assert len(kept) == 1
    calls = [node.target.__name__ for node in result.model.graph.nodes if node.op == "call_function"]
    assert f"{scale}.Tensor" in calls


@pytest.mark.parametrize("how", [{}, {"mask": "fill"}], ids=str)
@pytest.mark.parametrize("module", [Behind, InFront])
def test_traced_programs_fold_as_well(module, how):
    x = torch.randn(X)
    made = randomised(module(**how).eval())
    result = fold_and_compare(compiled(made, "trace", x), x)
    assert result.reasons == []
