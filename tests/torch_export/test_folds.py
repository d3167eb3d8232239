"""Exported programs: every BatchNorm that can go goes, the others say why, and nothing else changes."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from bnfold.refusal import Reason  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

BOTH = pytest.mark.parametrize("decomposed", [False, True], ids=["as exported", "decomposed"])


def seeded(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def sequential(*modules):
    return randomised(nn.Sequential(*modules))


FOLDED = {
    "conv1d": (lambda: (nn.Conv1d(3, 6, 3, padding=1, groups=3), nn.BatchNorm1d(6)), (2, 3, 8)),
    "conv2d without a bias": (lambda: (nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)), (2, 3, 8, 8)),
    "conv3d": (lambda: (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), (1, 2, 4, 4, 4)),
    "conv with padding same": (lambda: (nn.Conv2d(3, 6, 3, padding="same"), nn.BatchNorm2d(6)), (2, 3, 8, 8)),
    "grouped transposed convolution": (
        lambda: (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)),
        (2, 4, 5, 5),
    ),
    "square transposed convolution": (lambda: (nn.ConvTranspose2d(4, 4, 3), nn.BatchNorm2d(4)), (2, 4, 5, 5)),
    "transposed 1d": (lambda: (nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.BatchNorm1d(6)), (2, 4, 5)),
    "linear": (lambda: (nn.Linear(5, 4), nn.BatchNorm1d(4)), (3, 5)),
    "linear without a bias": (lambda: (nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4)), (3, 5)),
    "before a convolution": (lambda: (nn.Tanh(), nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3)), (2, 3, 8, 8)),
    "before a linear": (lambda: (nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 4)), (3, 5)),
    "through a pooling and a flatten": (
        lambda: (nn.ReLU(), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)),
        (2, 3, 8, 8),
    ),
    "on the graph's input": (lambda: (nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3)), (2, 3, 8, 8)),
    "without affine parameters": (lambda: (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False)), (2, 3, 8, 8)),
    "with momentum None": (lambda: (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, momentum=None)), (2, 3, 8, 8)),
    "one channel": (lambda: (nn.Conv2d(3, 1, 3), nn.BatchNorm2d(1)), (2, 3, 8, 8)),
    "group norm": (lambda: (nn.GroupNorm(2, 4), nn.BatchNorm2d(4)), (2, 4, 8, 8)),
    "group norm without affine": (lambda: (nn.GroupNorm(2, 4, affine=False), nn.BatchNorm2d(4)), (2, 4, 8, 8)),
    "an activation in place behind": (
        lambda: (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 2, 1)),
        (2, 3, 8, 8),
    ),
    "two in a row": (lambda: (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.BatchNorm2d(6)), (2, 3, 8, 8)),
    "a pixel shuffle": (
        lambda: (nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.BatchNorm2d(2)),
        (2, 3, 8, 8),
    ),
}


@BOTH
@pytest.mark.parametrize("name", FOLDED)
def test_everything_folds(name, decomposed):
    modules, shape = FOLDED[name]
    x = seeded(*shape)
    program = export(sequential(*modules()), x, decomposed=decomposed)
    result = fold(program)
    assert result.report.batch_norms.kept == 0
    assert not any("batch_norm" in str(node.target) for node in result.model.graph.nodes)
    assert not any("running" in name or "num_batches" in name for name in result.model.state_dict)
    assert result.report.format == "torch_export"
    assert_same(program, result.model, x)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_types(dtype, decomposed):
    x = seeded(2, 3, 8, 8, dtype=dtype)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4)
    )
    program = export(randomised(module).to(dtype), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (2, 0)
    assert {tensor.dtype for tensor in result.model.state_dict.values()} == {dtype}
    assert_same(program, result.model, x)


class LinearThenNorm(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(inside)

    def forward(self, x):
        return self.norm(self.linear(x))


@BOTH
def test_a_linear_over_the_last_axis_never_takes_a_map_over_axis_1(decomposed):
    """(N, C, L) with C == L: torch.jit.freeze folds that on the wrong axis."""
    x = seeded(2, 4, 5)
    program = export(randomised(LinearThenNorm(4)), x, decomposed=decomposed)
    result = fold(program)
    assert reasons(result) == [Reason.WRONG_AXIS]
    assert_same(program, result.model, x)


class CalledTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) - self.conv(torch.tanh(x))


@BOTH
def test_a_convolution_that_is_called_twice(decomposed):
    x = seeded(2, 3, 8, 8)
    program = export(randomised(CalledTwice()), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert torch.equal(result.model.state_dict["conv.weight"], program.state_dict["conv.weight"])
    assert set(result.model.state_dict) == {"conv.weight", "conv.bias", "conv.weight_folded", "conv.bias_folded"}
    assert_same(program, result.model, x)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.norm(self.first(x))))


@BOTH
def test_parameters_that_modules_share(decomposed):
    x = seeded(3, 4)
    module = randomised(Tied())
    program = export(module, x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


class SharedNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.again = self.norm

    def forward(self, x):
        return self.again(torch.sigmoid(self.norm(self.conv(x))))


@BOTH
def test_a_batch_norm_that_is_called_twice(decomposed):
    x = seeded(2, 3, 8, 8)
    program = export(randomised(SharedNorm()), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 1)
    assert_same(program, result.model, x)


class MiddleOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y)
        return y, z, torch.relu(z)


@BOTH
def test_an_output_in_the_middle_keeps_its_values(decomposed):
    x = seeded(2, 3, 8, 8)
    program = export(randomised(MiddleOutput()), x, decomposed=decomposed)
    result = fold(program)
    assert reasons(result) == [Reason.GRAPH_OUTPUT]
    assert_same(program, result.model, x)


class ReadInPlace(nn.Module):
    """The activation in place changes what the other reader sees, and that stays so."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y)
        y.relu_()
        return self.head(z) + y


@BOTH
def test_memory_that_changes_under_a_reader(decomposed):
    x = seeded(2, 3, 8, 8)
    program = export(randomised(ReadInPlace()), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


class InPlaceBehindAPush(nn.Module):
    """Without the BatchNorm the operator in place would write to a tensor that another one reads."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = torch.tanh(x)
        z = self.norm(y)
        z.neg_()
        return self.head(z) + y


@BOTH
def test_an_operator_in_place_makes_a_tensor_of_its_own_where_it_has_to(decomposed):
    x = seeded(2, 3, 8, 8)
    program = export(randomised(InPlaceBehindAPush()), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


class Transposed(nn.Module):
    """The BatchNorm stands behind a transposition, in front of a change of shape."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        y = self.norm(self.linear(x).transpose(1, 2))
        return y.reshape(y.shape[0], -1)


@BOTH
def test_a_batch_norm_between_a_transposition_and_a_change_of_shape(decomposed):
    x = seeded(2, 4, 5)
    program = export(randomised(Transposed()), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, x)


@BOTH
@pytest.mark.parametrize("tracks", [True, False], ids=["statistics", "no statistics"])
def test_training_mode_stays(decomposed, tracks):
    """It takes its statistics from the batch, and changes num_batches_tracked in the program's state."""
    x = seeded(4, 3, 8, 8)
    norm = nn.BatchNorm2d(6, track_running_stats=tracks)
    program = export(randomised(nn.Sequential(nn.Conv2d(3, 6, 3), norm)).train(), x, decomposed=decomposed)
    result = fold(program)
    assert reasons(result) == [Reason.TRAINING_MODE]
    assert set(result.model.state_dict) == set(program.state_dict)
    assert_same(program, result.model, x)


def test_training_mode_read_as_inference():
    x = seeded(4, 3, 8, 8)
    module = randomised(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)))
    result = fold(export(module.train(), x), assume_inference=True)
    assert counts(result) == (1, 0)
    assert_same(export(module.eval(), x), result.model, x)


class Dynamic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        return self.head(y.flatten(2).transpose(1, 2)), y.shape[2] * 2


@BOTH
def test_dynamic_shapes_stay_dynamic(decomposed):
    x = seeded(2, 3, 8, 8)
    batch, height = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("height", min=4)
    program = export(randomised(Dynamic()), x, decomposed=decomposed, dynamic_shapes={"x": {0: batch, 2: height}})
    result = fold(program)
    assert counts(result) == (1, 0)
    assert result.model.range_constraints == program.range_constraints
    assert result.model.call_spec == program.call_spec
    for shape in ((2, 3, 8, 8), (5, 3, 12, 8)):
        mine, theirs = (entry.module()(seeded(*shape)) for entry in (result.model, program))
        assert_equal_results(theirs[0], mine[0])
        assert mine[1] == theirs[1]


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, inputs, *, scale):
        return {"y": self.norm(self.conv(inputs["x"])) * scale, "n": inputs["n"] + 1}


def test_nested_arguments_and_results_keep_their_form():
    inputs = {"x": seeded(2, 3, 4, 4), "n": torch.tensor([1, 2])}
    program = export(randomised(Nested()), inputs, kwargs={"scale": torch.tensor(2.0)})
    result = fold(program)
    assert counts(result) == (1, 0)
    mine, theirs = (entry.module()(inputs, scale=torch.tensor(3.0)) for entry in (result.model, program))
    assert_equal_results(theirs, mine)
    names = [spec.arg.name for spec in program.graph_signature.output_specs]
    assert [spec.arg.name for spec in result.model.graph_signature.output_specs] == names


class Functional(nn.Module):
    """A BatchNorm by hand: constants, numbers and buffers instead of a module."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("mean", torch.tensor([0.5, -1.0, 2.0, 0.0]))
        self.register_buffer("spread", torch.tensor([1.0, 2.0, 0.5, 4.0]), persistent=False)

    def forward(self, x):
        y = (self.conv(x) - self.mean[:, None, None]) / self.spread.sqrt().view(1, 4, 1, 1)
        return torch.sigmoid(y * torch.tensor([2.0, -1.0, 0.5, 1.0]).view(-1, 1, 1) + 3)


@BOTH
def test_arithmetic_with_constants(decomposed):
    x = seeded(2, 3, 4, 4)
    program = export(Functional().eval(), x, decomposed=decomposed)
    result = fold(program)
    assert len(result.report.outcome.folds) == 4
    assert list(result.model.state_dict) == ["conv.weight", "conv.bias"]
    assert not result.model.constants
    assert_same(program, result.model, x)
    untouched = fold(program, affine=False)
    assert not untouched.report.outcome.folds
    assert set(untouched.model.state_dict) == set(program.state_dict)


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.recurrent = getattr(nn, kind)(5, 4, batch_first=True, **options)

    def forward(self, x):
        return self.recurrent(self.norm(torch.tanh(x)).transpose(1, 2))[0]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_recurrent_operators_take_a_map_at_their_input(kind, options):
    x = seeded(2, 5, 7)
    program = export(randomised(Recurrent(kind, **options)), x)
    result = fold(program)
    if options.get("bias", True):
        assert counts(result) == (1, 0)
    else:
        assert result.report.outcome.kept[0].refusals[-1].reason is Reason.NO_BIAS
    assert_same(program, result.model, x)


class Products(nn.Module):
    def __init__(self, rank):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))
        self.norm = nn.BatchNorm1d(4)
        self.rank = rank

    def forward(self, x):
        y = x @ self.weight
        return self.norm(y) if self.rank == 2 else self.norm(y.transpose(1, 2))


@BOTH
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)], ids=len)
def test_a_product_without_a_bias_gains_one(shape, decomposed):
    x = seeded(*shape)
    program = export(randomised(Products(len(shape))), x, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert result.report.nodes.after <= result.report.nodes.before
    assert_same(program, result.model, x)


@BOTH
def test_embedding_bag_of_tricks(decomposed):
    """A table takes the map over its columns."""

    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm = nn.Embedding(7, 4), nn.BatchNorm1d(4)

        def forward(self, indices):
            return self.norm(self.table(indices).transpose(1, 2))

    indices = torch.tensor([[1, 2, 3], [6, 0, 1]])
    program = export(randomised(Table()), indices, decomposed=decomposed)
    result = fold(program)
    assert counts(result) == (1, 0)
    assert_same(program, result.model, indices)


@BOTH
def test_overflow_in_float16_is_refused(decomposed):
    x = seeded(2, 3, 4, 4, dtype=torch.float16)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=1e-8)).eval()
    module[1].running_var.zero_()
    module[1].weight.data.fill_(60.0)
    program = export(module.half(), x, decomposed=decomposed)
    assert reasons(fold(program))[0] in (Reason.OVERFLOW, Reason.NON_POSITIVE_VARIANCE)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_statistics_that_are_no_numbers(broken):
    module = sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    module[1].running_mean[2] = broken
    assert reasons(fold(export(module, seeded(2, 3, 4, 4)))) == [Reason.NOT_FINITE]


def test_excluded_by_the_name_of_its_module():
    module = sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    result = fold(export(module, seeded(2, 3, 4, 4)), exclude=("3",))
    assert [fold_.node for fold_ in result.report.outcome.folds] == ["1"]
    assert reasons(result) == [Reason.EXCLUDED]


def test_the_module_of_the_user_stays_as_it_is():
    module = sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    x = seeded(2, 3, 4, 4)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    expected = module(x)
    fold(export(module, x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(module(x), expected)


def test_a_signature_that_was_kept_for_a_submodule():
    """torch.export.unflatten finds the tensors of the submodule under their new names."""

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

        def forward(self, x):
            return F.relu(self.block(x))

    x = seeded(2, 3, 4, 4)
    program = export(randomised(Outer()), x, preserve_module_call_signature=("block",))
    result = fold(program)
    assert counts(result) == (1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export.unflatten: not what is tested here
        unflattened = torch.export.unflatten(result.model)
    assert_equal_results(program.module()(x), unflattened(x))
