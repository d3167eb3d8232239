"""BatchNorms in bodies of higher-order operators: all are found, those that may fold do, and the rest says why."""

import functools

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.frontends.torch_export import bodies  # noqa: E402
from bnfold.frontends.torch_export.lift import lift  # noqa: E402
from bnfold.refusal import Reason  # noqa: E402
from bnfold.verifier.programs.check import check_torch  # noqa: E402
from tests.torch_export.folding import assert_same, counts, decompose, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

BOTH = pytest.mark.parametrize("decomposed", [False, True], ids=["as exported", "decomposed"])


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def norm_behind(channels, outputs):
    return nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs))


class Program(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = norm_behind(3, 4), norm_behind(4, 4), norm_behind(4, 4)


class NoGrad(Program):
    def forward(self, x):
        with torch.no_grad():
            y = torch.relu(self.a(x))
        return self.b(y)


class AcrossTheEdge(Program):
    """One BatchNorm inside with its Conv outside, one outside with its Conv inside."""

    def forward(self, x):
        y = self.a[0](x)
        with torch.no_grad():
            z = self.b[0](torch.relu(self.a[1](y)))
        return self.b[1](z)


class WholeBody(Program):
    """The body is the BatchNorm alone: without it, what goes in comes out."""

    def forward(self, x):
        y = self.a[0](x)
        with torch.no_grad():
            y = self.a[1](y)
        return torch.relu(y)


class Nested(Program):
    def forward(self, x):
        with torch.no_grad():
            y = torch.relu(self.a(x))
            with torch.autocast("cpu", enabled=False):
                y = self.c[0](torch.tanh(self.b(y)))
        return self.c[1](y)


class Branches(Program):
    """Both branches and the code before use the same parameters."""

    def forward(self, x):
        y = torch.relu(self.b(torch.relu(self.a(x))))
        return torch.cond(
            y.mean() > 1, lambda z: torch.tanh(self.b(torch.relu(self.c(z)))), lambda z: self.b(z) * 2, (y,)
        )


class NestedBranches(Program):
    def forward(self, x):
        def inner(y):
            return torch.cond(y.max() > 2, lambda z: self.a(z), lambda z: self.a(z) * 2, (y,))

        return torch.cond(x.mean() > 0, inner, lambda y: self.a(y) + 1, (x,))


class While(Program):
    def forward(self, x):
        from torch._higher_order_ops import while_loop

        def step(count, y):
            return count + 1, torch.tanh(self.b(y))

        return while_loop(lambda count, _y: count < 3, step, (torch.zeros((), dtype=torch.int64), self.a(x)))[1]


class Map(Program):
    def forward(self, x):
        from functorch.experimental.control_flow import map as map_over

        return map_over(lambda y: torch.relu(self.a(y[None])), x)


class Scan(Program):
    def forward(self, x):
        from torch._higher_order_ops.scan import scan

        def step(carried, y):
            new = torch.tanh(self.b(y[None]) + carried)
            return new, new * 1

        return scan(step, torch.zeros(1, 4, 6, 6), self.a(x))[1]


class BranchInWrapper(Program):
    def forward(self, x):
        with torch.no_grad():
            y = torch.cond(x.sum() > 0, lambda z: self.a(z), lambda z: torch.relu(self.a(z)), (x,))
        return self.b(y)


class WrapperInBranch(Program):
    def forward(self, x):
        def wrapped(z):
            with torch.no_grad():
                return self.a(z) * 1.5

        return torch.cond(x.sum() > 0, wrapped, lambda z: self.a(z), (x,))


class SeveralResults(Program):
    """What a wrapper gives back twice, in two forms, one of which is made of the other."""

    def forward(self, x):
        y = self.a[0](x)
        with torch.no_grad():
            z = self.a[1](y)
            w = torch.relu(z)
        return self.b(w) + z


class WithoutBias(nn.Module):
    """A product that gains an addition in a body."""

    def __init__(self):
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.randn(6, 4)), nn.BatchNorm1d(4)

    def forward(self, x):
        y = x.flatten(1, 2)
        return torch.cond(
            x.sum() > 0,
            lambda z: self.norm((z @ self.weight).transpose(1, 2)),
            lambda z: (z @ self.weight).transpose(1, 2) * 1,
            (y,),
        )


class Counting(Program):
    """A buffer that the body changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        with torch.no_grad():
            self.count.add_(1)
            y = self.a(x)
        return self.b(torch.relu(y)) + self.count


FOLDED = {
    BranchInWrapper: 3,
    WrapperInBranch: 2,
    SeveralResults: 2,
    WithoutBias: 1,
    Counting: 2,
    NoGrad: 2,
    AcrossTheEdge: 2,
    WholeBody: 1,
    Nested: 3,
    Branches: 5,
    NestedBranches: 3,
    While: 2,
    Map: 1,
    Scan: 2,
}


def made(kind, seed=0):
    torch.manual_seed(seed)
    return randomised(kind(), seed)


@functools.cache
def exported(kind):
    """Its program, which no test changes: to export a body takes longer than all that is done with it."""
    return export(made(kind), seeded(2, 3, 6, 6))


# A decomposition writes out wrappers: of these one is enough.
PLAIN_ONCE_DECOMPOSED = (AcrossTheEdge, WholeBody, SeveralResults)
FORMS = [(kind, False) for kind in FOLDED] + [(kind, True) for kind in FOLDED if kind not in PLAIN_ONCE_DECOMPOSED]


@pytest.mark.parametrize(
    ("kind", "decomposed"), FORMS, ids=[f"{kind.__name__}{' decomposed' * decomposed}" for kind, decomposed in FORMS]
)
def test_what_is_in_a_body_folds(kind, decomposed):
    x = seeded(2, 3, 6, 6)
    program = decompose(exported(kind)) if decomposed else exported(kind)
    result = fold(program)
    assert counts(result) == (FOLDED[kind], 0)
    for inputs in (x, -5 * x):
        assert_same(program, result.model, inputs)
    read = {node.name for node in result.model.graph.nodes if node.users}
    statistics = [name for name in read if "running" in name]
    assert not statistics


@pytest.mark.parametrize("kind", [NoGrad, Branches, While], ids=lambda kind: kind.__name__)
def test_a_result_folds_no_further(kind):
    once = fold(exported(kind))
    assert counts(fold(once.model)) == (0, 0)


@pytest.mark.parametrize("kind", [NoGrad, Branches], ids=lambda kind: kind.__name__)
def test_a_wrong_weight_in_a_body_is_noticed(kind):
    program = exported(kind)
    result = bnfold.fold(program)
    assert result.report.verification.passed
    weight = next(name for name in result.model.state_dict if name.startswith("b.0.weight"))
    result.model.state_dict[weight].data[3] *= 1.01
    assert not check_torch(program, result.model).passed


def parts_of_wrappers(program):
    wrapper = next(node for node in program.graph.nodes if "wrap_with" in str(node.target))
    return [user.name for user in wrapper.users]


class BackwardAcrossTheEdge(Program):
    """The BatchNorm inside goes into the Conv outside."""

    def forward(self, x):
        with torch.no_grad():
            y = self.a[1](torch.tanh(self.a[0](x)))
        return nn.functional.conv2d(y, self.c[0].weight)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(NoGrad, False), (WholeBody, False), (AcrossTheEdge, True), (BackwardAcrossTheEdge, True)],
    ids=lambda kind: getattr(kind, "__name__", ""),
)
def test_a_tensor_that_changed_is_called_otherwise_outside_too(kind, changes):
    program = exported(kind)
    result = fold(program)
    assert result.report.batch_norms.folded > 0
    assert (parts_of_wrappers(program) != parts_of_wrappers(result.model)) is changes


class Edges(nn.Module):
    """BatchNorms that only something on the other side of a body's edge could take."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.last = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return torch.cond(y.mean() > 0, lambda z: torch.tanh(self.first(z)), torch.tanh, (y,))


def test_no_map_crosses_the_edge_of_a_branch():
    x = seeded(1, 3, 4, 4)
    program = export(made(Edges), x)
    result = fold(program)
    assert counts(result) == (0, 1)
    (kept,) = [kept for kept in result.report.outcome.kept if kept.is_batch_norm]
    assert kept.node == "first"
    assert kept.refusals[0].reason is Reason.GRAPH_INPUT
    assert "enters a body of 'cond' from outside" in kept.refusals[0].evidence
    assert_same(program, result.model, x)


class Carried(nn.Module):
    """A loop whose statistics move from run to run."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3))

    def forward(self, x):
        from torch._higher_order_ops import while_loop

        def step(count, y, mean):
            return count + 1, torch.tanh(nn.functional.batch_norm(self.conv(y), mean, self.var)), mean + 1

        start = (torch.zeros((), dtype=torch.int64), x, self.mean)
        return while_loop(lambda count, _y, _mean: count < 3, step, start)[1]


def test_what_a_loop_carries_is_no_constant():
    x = seeded(1, 3, 4, 4)
    program = export(Carried().eval(), x)
    result = fold(program)
    assert reasons(result) == [Reason.DYNAMIC_PARAMETER]
    assert_same(program, result.model, x)


def test_an_operator_that_is_not_known_is_listed(monkeypatch):
    known = {name: spelling for name, spelling in bodies._SPELLINGS.items() if name != "map_impl"}
    monkeypatch.setattr(bodies, "_SPELLINGS", known)
    x = seeded(2, 3, 6, 6)
    program = exported(Map)
    result = fold(program)
    assert reasons(result) == [Reason.FOREIGN_DOMAIN]
    assert "bnfold does not know how" in result.report.outcome.kept[0].refusals[0].evidence
    assert_same(program, result.model, x)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = norm_behind(3, 3)

    def forward(self, x):
        y = torch.cond(x.mean() > 0, lambda z: self.a(z), lambda z: self.a(z) * 2, (x,))
        return torch.cond(y.mean() > 0, lambda z: self.a(z), lambda z: self.a(z) * 2, (y,))


@pytest.mark.parametrize("shared", [1, 2])
def test_a_body_that_two_operators_run_becomes_two(shared):
    """Such programs are written by passes of others, as torch's exporter makes one body for each."""
    x = seeded(2, 3, 6, 6)
    program = export(made(Twice), x)
    readings = [node for node in program.graph.nodes if node.op == "get_attr"]
    for later, earlier in list(zip(readings[2:], readings[:2], strict=True))[:shared]:
        later.replace_all_uses_with(earlier)
        program.graph.erase_node(later)
    program.graph_module.recompile()
    assert bodies.has_shared_bodies(program.graph_module)
    result = fold(program)
    assert counts(result) == (4, 0)
    assert not bodies.has_shared_bodies(result.model.graph_module)
    for inputs in (x, -x, 3 * x):
        assert_same(program, result.model, inputs)


class Mixed(Program):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        with torch.autocast("cpu", dtype=self.dtype):
            y = torch.relu(self.a(x))
        return self.b(y.float())


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_region_of_autocast(dtype, decomposed):
    x = seeded(2, 3, 6, 6)
    torch.manual_seed(0)
    program = export(randomised(Mixed(dtype)), x, decomposed=decomposed)
    result = bnfold.fold(program)
    assert counts(result) == (2, 0)
    assert result.report.verification.passed
    assert not result.report.verification.warnings, "parts with such a region run alone, in float64"
    assert result.model.state_dict["a.0.weight"].dtype == torch.float32
    expected, found = program.module()(x), result.model.module()(x)
    assert (found - expected).abs().max() / expected.abs().max() < (0.02 if dtype is torch.bfloat16 else 0.003)


class IntoAutocast(nn.Module):
    """Numbers that are only small behind the BatchNorm."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 5)

    def forward(self, x):
        y = self.norm(torch.exp(x))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.linear(y)


def test_no_map_crosses_a_conversion_that_the_graph_does_not_show():
    x = seeded(8, 4)
    program = export(made(IntoAutocast), x)
    result = fold(program)
    assert counts(result) == (0, 1)
    refusals = result.report.outcome.kept[0].refusals
    assert any("only a conversion between float32 and float64" in refusal.evidence for refusal in refusals)


class Strict(Program):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.a(x)


def test_the_strict_exporter_states_other_types_than_are_computed():
    x = seeded(2, 3, 6, 6)
    program = export(made(Strict), x, strict=True)
    values = {value.name: value for node in lift(program).nodes for value in node.outputs if value is not None}
    assert [value.dtype for name, value in values.items() if name.startswith("conv2d")] == [torch.bfloat16]
    assert [value.dtype for name, value in values.items() if name.startswith("batch_norm")] == [None]
    result = fold(program)
    assert counts(result) == (1, 0)
    assert result.model.module()(x).dtype == torch.bfloat16


def test_a_weight_that_float16_cannot_hold_stays():
    torch.manual_seed(0)
    module = randomised(Mixed(torch.float16))
    module.a[1].running_var.fill_(1e-9)
    module.a[1].eps = 1e-9
    module.a[0].weight.data.fill_(30.0)
    module.a[1].weight.data.fill_(1.0)
    result = fold(export(module, seeded(2, 3, 6, 6)))
    assert reasons(result) == [Reason.OVERFLOW]
