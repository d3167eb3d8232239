"""Convolutions and products whose weight is computed: the bias takes a shift, what multiplies the weight a scale."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402


class Modulated(nn.Module):
    """A weight that a style multiplies, or that comes from outside as it is."""

    def __init__(self, shape, norm, bias=True, multiplied=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.randn(shape[0])) if bias else None
        self.norm, self.multiplied, self.product = norm, multiplied, nn.functional.linear
        if len(shape) == 4:
            self.product = nn.functional.conv2d

    def forward(self, x, style):
        weight = self.weight * style if self.multiplied else style
        return self.norm(self.product(x, weight, self.bias))


LAYERS = {
    "conv": ((6, 4, 3, 3), nn.BatchNorm2d, (2, 4, 5, 5), (1, 4, 1, 1)),
    "linear": ((6, 4), nn.BatchNorm1d, (3, 4), (1, 4)),
}


def module_of(layer, **how):
    shape, norm, x, style = LAYERS[layer]
    made = randomised(Modulated(shape, norm(6), **how)).eval()
    return made, (torch.randn(x), torch.randn(style if how.get("multiplied", True) else shape))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_batch_norm_goes_into_the_weight_that_is_modulated_and_the_bias(layer, bias):
    module, inputs = module_of(layer, bias=bias)
    program = export(module, *inputs)
    result = fold(program)
    assert_same(program, result.model, *inputs)
    assert counts(result) == (1, 0)
    traced = fold_and_compare(compiled(module, "trace", *inputs), *inputs)
    assert (traced.batch_norms_folded, traced.reasons) == (1, [])


@pytest.mark.parametrize("layer", LAYERS)
def test_a_scale_of_a_weight_from_outside_has_no_place(layer):
    module, inputs = module_of(layer, multiplied=False)
    assert reasons(fold(export(module, *inputs))) == [Reason.DYNAMIC_WEIGHT]


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, x, weight):
        return nn.functional.conv2d(x, weight) - self.shift


def test_a_shift_needs_the_bias_alone():
    inputs = (torch.randn(2, 4, 5, 5), torch.randn(6, 4, 3, 3))
    program = export(Shifted(), *inputs)
    result = fold(program)
    assert_same(program, result.model, *inputs)
    assert [node.target.__name__ for node in result.model.graph.nodes if node.op == "call_function"] == [
        "conv2d.default"
    ]


class Shared(nn.Module):
    """Two convolutions read one weight."""

    def __init__(self):
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.randn(6, 4, 1, 1)), nn.BatchNorm2d(6)

    def forward(self, x, style):
        weight = self.weight * style
        return self.norm(nn.functional.conv2d(x, weight)), nn.functional.conv2d(x.relu(), weight).relu()


def test_a_weight_that_two_convolutions_share_keeps_its_values():
    inputs = (torch.randn(2, 4, 5, 5), torch.randn(1, 4, 1, 1))
    assert reasons(fold(export(randomised(Shared()).eval(), *inputs))) == [Reason.OTHER_CONSUMERS]


class OfTwo(nn.Module):
    """A product of two computed matrices, and a number for each column behind it."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(6))

    def forward(self, x, z):
        return torch.mm(torch.sigmoid(x), torch.sigmoid(z)) + self.shift


def test_a_shift_behind_a_product_of_two_computed_matrices_is_its_bias():
    inputs = (torch.randn(3, 5), torch.randn(5, 6))
    program = export(OfTwo(), *inputs)
    result = fold(program)
    assert_same(program, result.model, *inputs)
    called = [str(node.target) for node in result.model.graph.nodes if node.op == "call_function"]
    assert [name for name in called if "mm" in name or "add" in name] == ["aten.addmm.default"]
