"""What a ScriptModule is beside its forward: methods, submodules, names, classes, state."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript import modules  # noqa: E402
from tests.torchscript.folding import (  # noqa: E402
    assert_same,
    compiled,
    deprecations_silenced,
    fold,
    fold_and_compare,
    reloaded,
)

FOUR = torch.randn(2, 4, 6, 7)
IMAGE = torch.randn(2, 3, 6, 7)


def folded(module, *arguments, way="scripted"):
    return fold_and_compare(compiled(randomised(module), way, *arguments), *arguments)


def test_other_methods_keep_their_values():
    found = folded(modules.OtherMethods(), FOUR, 2.0)
    assert found.batch_norms_folded == 2
    original, new = found.original, reloaded(found.module)
    assert set(new._c._method_names()) == set(original._c._method_names())
    assert torch.equal(new.features(FOUR), original.features(FOUR))


def test_defaults_of_arguments_survive():
    found = folded(modules.OtherMethods(), FOUR, 2.0)
    new = reloaded(found.module)
    assert torch.equal(new(FOUR), new(FOUR, 2.0))
    assert str(new.forward.schema).endswith("Tensor x, float scale=2.) -> Tensor")


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_methods_of_submodules_keep_their_values(way):
    found = folded(modules.MethodOfSubmodule(), FOUR, way=way)
    assert found.batch_norms_folded == 1
    if way == "scripted":
        assert torch.equal(reloaded(found.module).encoder.encode(FOUR), found.original.encoder.encode(FOUR))


def test_halves_of_forward_stay_right():
    found = folded(modules.Helpers(), FOUR)
    assert found.batch_norms_folded == 2
    assert_same(found.original.forward_features, found.module.forward_features, FOUR)
    assert_same(found.original.forward_head, found.module.forward_head, FOUR)


def test_a_class_shared_and_a_convolution_called_twice():
    found = folded(modules.SharedClass(), FOUR)
    # The convolution without bias is called twice: the bias of the folded call must not reach the other one.
    assert found.batch_norms_folded == 2


def test_submodules_that_would_now_be_wrong_have_lost_their_method():
    found = folded(modules.Before(nn.Sequential(nn.Conv2d(4, 4, 1)), nn.BatchNorm2d(4)), FOUR)
    assert not found.module.operator._c._has_method("forward")
    assert set(found.names) == {"operator.0.weight", "operator.0.bias"}


def test_untouched_submodules_keep_their_method():
    found = folded(modules.Before(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sigmoid()), nn.BatchNorm2d(4)), FOUR)
    assert found.batch_norms_folded == 0
    assert torch.equal(found.module.operator(FOUR), found.original.operator(FOUR))


def test_what_a_method_writes_to_is_no_constant():
    found = folded(modules.Written(), IMAGE)
    assert found.batch_norms_folded == 0
    found.original.grow()
    found.module.grow()
    assert_same(found.original, found.module, IMAGE)


def test_names_that_are_taken():
    found = folded(modules.Collides(), torch.randn(3, 4))
    assert found.batch_norms_folded == 1
    assert found.names == {"conv.weight", "conv_bias", "conv_bias_2"}


def test_new_biases_are_parameters():
    found = folded(modules.Before(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)), torch.randn(3, 4))
    names = [name for name, _ in found.module.named_parameters()]
    assert len(names) == 2
    moved = reloaded(found.module).double()
    assert all(tensor.dtype == torch.float64 for tensor in moved.state_dict().values())
    moved(torch.randn(3, 4, dtype=torch.float64))


def test_parameters_stay_parameters():
    found = folded(modules.Before(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), FOUR)
    assert all(parameter.requires_grad for parameter in found.module.parameters())


def test_a_branch_of_run_time():
    found = folded(modules.Branches(), FOUR)
    assert found.batch_norms_folded == 2
    assert_same(found.original, found.module, -FOUR.abs())
    assert_same(found.original, found.module, FOUR.abs())


def test_a_dictionary_of_outputs():
    assert folded(modules.Structured(), IMAGE).batch_norms_folded == 1


def test_nothing_to_fold_changes_nothing():
    found = folded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), IMAGE)
    assert found.module.code == reloaded(found.original).code


def test_a_saved_file_gives_the_same_numbers_in_a_fresh_process(tmp_path):
    found = folded(modules.OtherMethods(), FOUR, 2.0)
    with deprecations_silenced():
        torch.jit.save(found.module, tmp_path / "new.pt")
        torch.save({"x": FOUR, "y": found.module(FOUR)}, tmp_path / "samples.pt")
    program = (
        "import sys, torch\n"
        "samples = torch.load(sys.argv[2], weights_only=True)\n"
        "assert torch.equal(torch.jit.load(sys.argv[1])(samples['x']), samples['y'])\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "new.pt", tmp_path / "samples.pt"], check=True, timeout=120
    )


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_the_file_can_be_written_for_mobile(way, tmp_path):
    found = folded(modules.Before(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), FOUR, way=way)
    found.module._c._save_for_mobile(str(tmp_path / "new.ptl"), {}, False, False)
    from torch.jit.mobile import _load_for_lite_interpreter

    assert torch.equal(_load_for_lite_interpreter(str(tmp_path / "new.ptl"))(FOUR), found.module(FOUR))


def test_without_examples_no_shape_is_known_and_nothing_is_guessed():
    module = compiled(randomised(modules.Before(nn.Linear(5, 4), nn.BatchNorm1d(4))), "scripted")
    found = fold(module)
    assert found.batch_norms_folded == 0
    assert "not known before run time" in found.kept[0].refusals[0].evidence


def test_sizes_that_the_program_does_not_insist_on_are_not_used():
    module = randomised(modules.Before(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    found = fold_and_compare(compiled(module, "traced", IMAGE), IMAGE)
    assert found.batch_norms_folded == 1
    assert_same(found.original, found.module, torch.randn(5, 3, 9, 2))


def test_enumerations_and_assertions_of_sizes():
    # torch's passes stop at a comparison of enumerations; another size ends in an error that is no RuntimeError.
    result = folded(modules.ChoosesByEnum(), torch.randn(2, 3, 8, 9))
    assert len(result.folds) == 1


class Passes(nn.Module):
    def forward(self, x):
        return x


def test_a_program_that_does_nothing():
    result = folded(Passes(), torch.randn(2, 3))
    assert result.folds == ()
