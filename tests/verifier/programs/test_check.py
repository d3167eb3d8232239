"""The check for programs of torch: what it must catch, what it must not, and what it asks for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.engine import fold_graph  # noqa: E402
from bnfold.errors import UsageError, VerificationError  # noqa: E402
from bnfold.frontends.aten.port import AtenPort  # noqa: E402
from bnfold.frontends.torchscript.program import ScriptProgram  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from bnfold.verifier.programs.check import check_torch  # noqa: E402
from bnfold.verifier.programs.inputs import example_arguments  # noqa: E402
from bnfold.verifier.programs.opening import open_program as program_opened  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript import modules  # noqa: E402
from tests.torchscript.folding import compiled, reloaded  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 7)
OPTIONS = VerifyOptions(shapes={"x": (2, 3, 6, 7)})


def network(seed=0):
    torch.manual_seed(seed)
    return randomised(modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))


def script():
    return compiled(network(), "scripted")


def changed(change):
    """The network with a change that is small."""
    module = reloaded(script())
    with torch.no_grad():
        change(module)
    return module


def test_a_program_equals_itself():
    verdict = check_torch(script(), script(), OPTIONS)
    assert verdict.passed
    assert verdict.samples == OPTIONS.samples


def test_a_fold_passes_with_its_place():
    module = script()
    program = ScriptProgram(module, example_arguments(module, OPTIONS))
    fold_graph(AtenPort(program.graph))
    verdict = check_torch(module, program.finish(), OPTIONS)
    assert verdict.passed, verdict
    assert [place.name for place in verdict.tensors] == ["norm"]
    assert 0 < verdict.tensors[0].excess <= 1


def test_a_bias_that_comes_out_as_the_batch_norms_own_was_rounded_all_the_same():
    original = network()
    with torch.no_grad():
        original.operator.bias.zero_()
        original.norm.running_mean.copy_(torch.tensor([1e-9, -2e-9, 3e-9, 1e-10]))
        original.norm.bias.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    module = compiled(original, "scripted")
    program = ScriptProgram(module, example_arguments(module, OPTIONS))
    fold_graph(AtenPort(program.graph))
    folded = program.finish()
    assert any(torch.equal(tensor, original.norm.bias) for tensor in folded.state_dict().values())
    assert check_torch(module, folded, OPTIONS).passed


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.operator.weight[2].mul_(1.001),
        lambda module: module.norm.bias[3].add_(0.01),
        lambda module: module.norm.running_var.mul_(1.001),
        lambda module: module.norm.weight[1].neg_(),
        lambda module: module.operator.bias[1].fill_(float("nan")),
    ],
)
def test_small_changes_are_caught(change):
    assert not check_torch(script(), changed(change), OPTIONS).passed


class Deeper(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.behind = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.behind(torch.relu(self.norm(self.conv(x))))


def test_what_is_wrong_is_named_where_it_is_and_not_where_it_comes_out():
    torch.manual_seed(0)
    module = compiled(randomised(Deeper()), "scripted")
    wrong = reloaded(module)
    with torch.no_grad():
        wrong.norm.bias[1] += 0.01
    failed = [tensor.name for tensor in check_torch(module, wrong, OPTIONS).tensors if not tensor.passed]
    assert failed == ["norm"]


def test_other_inputs_and_outputs_are_caught():
    other = compiled(randomised(modules.OutputInTheMiddle()), "scripted")
    assert "outputs" in check_torch(script(), other, OPTIONS).problem
    tokens = compiled(randomised(nn.Sequential(nn.Conv2d(3, 4, 3))), "scripted")
    assert "inputs input (Tensor) against x (Tensor)" in check_torch(script(), tokens, OPTIONS).problem


def test_without_shapes_it_asks_and_shows_the_inputs():
    module = compiled(randomised(modules.OtherMethods()), "scripted")
    with pytest.raises(
        UsageError, match=r"shapes=\{'x': \(1, 3, 224, 224\)\}.*the inputs are x \(Tensor\), scale \(float\)"
    ):
        check_torch(module, module)


def test_a_traced_module_in_memory_knows_its_shapes():
    module = compiled(network(), "traced", IMAGE)
    assert example_arguments(module)[0].shape == IMAGE.shape


def test_an_unknown_name_and_a_shape_that_does_not_fit():
    with pytest.raises(UsageError, match="no input 'y'"):
        check_torch(script(), script(), VerifyOptions(shapes={"y": (1,)}))
    with pytest.raises(VerificationError, match="torch cannot run the original"):
        check_torch(script(), script(), VerifyOptions(shapes={"x": (1, 5, 3, 3)}))


def test_real_inputs_are_used():
    values = np.random.default_rng(0).normal(size=(2, 3, 6, 7)).astype(np.float32)
    verdict = check_torch(script(), script(), VerifyOptions(inputs={"x": values}))
    assert verdict.passed
    assert verdict.samples == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types(dtype):
    module = network().to(dtype)
    module.norm.running_var.fill_(2.0)
    module = compiled(module, "scripted")
    verdict = check_torch(module, reloaded(module), OPTIONS)
    assert verdict.passed, verdict


def test_equal_programs_have_no_places():
    program = torch.export.export(network(), (IMAGE,))
    verdict = check_torch(program, program, VerifyOptions(samples=2))
    assert verdict.passed
    assert not verdict.tensors


def test_exported_programs_that_differ():
    program, other = (torch.export.export(network(seed), (IMAGE,)) for seed in (0, 1))
    assert not check_torch(program, other, VerifyOptions(samples=2)).passed


class Chaos(torch.nn.Module):
    """One rounding makes another output of it."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return torch.sin(x * self.first * self.second)


def test_programs_that_nothing_can_be_said_of_are_not_called_different():
    ours, theirs = (compiled(Chaos(*factors), "scripted") for factors in ((3.3e7, 3.1), (3.1, 3.3e7)))
    values = np.linspace(1, 2, 64, dtype=np.float32)[None]
    verdict = check_torch(ours, theirs, VerifyOptions(inputs={"x": values}))
    assert verdict.status == "unchecked"
    assert "equality cannot be shown" in verdict.problem
    other = compiled(Chaos(0.3, 3.1), "scripted")
    assert (
        check_torch(other, compiled(Chaos(0.4, 3.1), "scripted"), VerifyOptions(inputs={"x": values})).status
        == "failed"
    )


@pytest.mark.parametrize("shape", [{}, {"x": (2, 3, 6, 7)}])
def test_an_array_of_several_batches_holds_several_samples(shape):
    """Where the trace or the caller says how long one is, as for ONNX."""
    values = np.random.default_rng(0).standard_normal((8, 3, 6, 7)).astype(np.float32)
    module = script() if shape else compiled(network(), "traced", IMAGE)
    name = program_opened("a", module).ports[0].name
    verdict = check_torch(
        module, module, VerifyOptions(inputs={name: values}, shapes=dict.fromkeys(shape and [name], (2, 3, 6, 7)))
    )
    assert verdict.passed
    assert verdict.samples == 4


def test_an_array_is_one_batch_where_the_first_size_is_free():
    values = np.random.default_rng(0).standard_normal((8, 3, 6, 7)).astype(np.float32)
    free = torch.export.export(network(), (IMAGE,), dynamic_shapes={"x": {0: torch.export.Dim("n")}})
    assert check_torch(free, free, VerifyOptions(inputs={"x": values})).samples == 1
    fixed = torch.export.export(network(), (IMAGE,))
    assert check_torch(fixed, fixed, VerifyOptions(inputs={"x": values})).samples == 4


def test_values_of_a_type_that_an_input_cannot_take_are_refused():
    fixed = torch.export.export(network(), (IMAGE,))
    with pytest.raises(UsageError, match="convert them"):
        check_torch(fixed, fixed, VerifyOptions(inputs={"x": np.ones((2, 3, 6, 7), complex)}))
