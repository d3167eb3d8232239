"""Parallel branches of programs of PyTorch: torch.export and TorchScript, as modules and as files."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.merging.blocks import BLOCKS, OPERATORS_LEFT, randomise  # noqa: E402
from tests.torch_export import folding as exported  # noqa: E402
from tests.torchscript import folding as scripted  # noqa: E402

X = torch.randn(2, 6, 9, 8, generator=torch.Generator().manual_seed(5))
LINEAR = ("conv", "linear", "addmm", "add", "sub", "batch_norm", "avg_pool", "div")


def kinds(names):
    """Operators that a merge is about, by kind: those with weights, additions, BatchNorms, poolings."""
    found = {}
    for name in names:
        for kind in LINEAR:
            if name.lstrip("_").startswith(kind):
                kind = "linear" if kind == "addmm" else kind
                found[kind] = found.get(kind, 0) + 1
                break
    return found


def of_export(program):
    return kinds(str(node.target).removeprefix("aten.") for node in program.graph.nodes if node.op == "call_function")


def of_script(module):
    graph = module.graph.copy()
    torch._C._jit_pass_inline(graph)
    return kinds(node.kind().removeprefix("aten::") for node in graph.nodes())


# Of blocks that are the same to a decomposition, but for a stride or an activation, one.
DECOMPOSED = ("RepVGG", "RepVGG in groups", "MobileOne", "DBB", "RepViT", "two heads")


@pytest.mark.parametrize(
    ("name", "decomposed"),
    [*((name, False) for name in BLOCKS), *((name, True) for name in DECOMPOSED)],
    ids=[*BLOCKS, *(f"{name} decomposed" for name in DECOMPOSED)],
)
def test_exported_blocks(name, decomposed):
    program = exported.export(randomise(BLOCKS[name]()), X, decomposed=decomposed)
    result = exported.fold(program)
    assert of_export(result.model) == OPERATORS_LEFT[name]
    assert result.report.batch_norms.kept == 0
    assert result.report.outcome.merges
    exported.assert_same(program, result.model, X)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("way", scripted.WAYS)
def test_scripted_blocks(name, way):
    module = scripted.compiled(randomise(BLOCKS[name]()), way, X)
    with scripted.deprecations_silenced():
        result = bnfold.fold(module, verify=VerifyOptions(shapes={"x": tuple(X.shape)}))
        assert result.report.verification.status == "passed"
        left = OPERATORS_LEFT[name]
        if way == "scripted" and name.startswith(
            "DBB"
        ):  # the BatchNorm's check of its input asks for the pooling's rank
            left = {"conv": 2, "avg_pool": 1, "add": 1}
        assert of_script(result.model) == left
        torch.testing.assert_close(result.model(X), module(X), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(scripted.reloaded(result.model)(X), module(X), rtol=1e-4, atol=1e-4)


class Written(nn.Module):
    """An in-place addition to a tensor that the caller sees."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        inner = x * 1.5
        inner += self.conv(inner)
        return inner, inner.relu_()


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_memory_that_the_caller_sees(way):
    module = scripted.compiled(Written().eval(), way, X)
    with scripted.deprecations_silenced():
        result = bnfold.fold(module, verify=None, shapes={"x": tuple(X.shape)})
        for ours, theirs in zip(result.model(X), module(X), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class Row(nn.Module):
    """The tensor that a row starts with is written to between its operators."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(6, 6, 1, bias=False)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.beside = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        x = x * 1.5
        inner = self.first(x)
        total = self.beside(x)
        other = x.relu_()
        return total + self.second(inner), other


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_a_write_between_the_operators_of_a_row(way):
    module = scripted.compiled(Row().eval(), way, X)
    with scripted.deprecations_silenced():
        result = bnfold.fold(module, verify=None, shapes={"x": tuple(X.shape)})
        for ours, theirs in zip(result.model(X), module(X), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class WrittenBetween(nn.Module):
    """The tensor that branches have in common is written to after the first has read it."""

    def __init__(self, write, later):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 1)
        self.write, self.later = write, later

    def forward(self, x):
        x = self.norm(torch.relu(x))
        first = self.first(x)
        self.write(x)
        return first + (self.second(x) if self.later else x), x


WRITES = {
    "whole": lambda x: x.mul_(0.5),
    "view": lambda x: x.view(-1)[5:].mul_(0.5),
    "slice": lambda x: x[:, 1].copy_(x[:, 2]),
}


@pytest.mark.parametrize("later", [False, True], ids=["itself", "convolution"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("way", ["traced", "exported"])
def test_a_write_between_branches(way, write, later):
    network = randomise(WrittenBetween(WRITES[write], later))
    if way == "exported":
        program = exported.export(network, X)
        exported.assert_same(program, exported.fold(program).model, X)
        return
    module = scripted.compiled(network, way, X)
    with scripted.deprecations_silenced():
        result = bnfold.fold(module, verify=None, shapes={"x": tuple(X.shape)})
        for ours, theirs in zip(result.model(X), module(X), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class Branching(nn.Module):
    """Branches in the body of a condition."""

    def __init__(self):
        super().__init__()
        self.block = BLOCKS["RepVGG"]()

    def forward(self, x):
        return torch.cond(x.sum() > 0, self.block, lambda y: y * 2, (x,))


def test_branches_in_bodies():
    program = exported.export(randomise(Branching()), X)
    result = exported.fold(program)
    assert len(result.report.outcome.merges) == 1
    exported.assert_same(program, result.model, X.abs())
    exported.assert_same(program, result.model, -X.abs())


def test_merging_can_be_left_out():
    program = exported.export(randomise(BLOCKS["RepVGG"]()), X)
    result = exported.fold(program, merge_branches=False)
    assert result.report.outcome.merges == ()
    assert of_export(result.model) == {"conv": 2, "batch_norm": 1, "add": 2}
