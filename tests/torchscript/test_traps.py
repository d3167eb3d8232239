"""Programs that others fold wrongly, scripted, traced and frozen."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript import modules  # noqa: E402
from tests.torchscript.folding import WAYS, assert_same, compiled, fold, fold_and_compare  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 7)
FOUR = torch.randn(2, 4, 6, 7)


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


def folded(way, module, *arguments, **options):
    torch.manual_seed(0)
    return fold_and_compare(compiled(randomised(module), way, *arguments), *arguments, **options)


@pytest.mark.parametrize(
    ("operator", "norm", "x"),
    [
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), torch.randn(2, 3, 9)),
        (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), IMAGE),
        (nn.Conv2d(4, 8, 3, groups=2, padding=1), nn.BatchNorm2d(8), FOUR),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), IMAGE),
        (nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4), torch.randn(2, 3, 4, 5, 4)),
        (nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), torch.randn(2, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1), nn.BatchNorm2d(6), FOUR),
        (nn.ConvTranspose2d(4, 4, 2, bias=False), nn.BatchNorm2d(4), FOUR),
        (nn.ConvTranspose3d(4, 4, 2, groups=4), nn.BatchNorm3d(4), torch.randn(1, 4, 2, 3, 3)),
        (nn.Linear(4, 5), nn.BatchNorm1d(5), torch.randn(3, 4)),
        (nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), torch.randn(3, 4)),
    ],
)
def test_folds_into_the_operator_before(way, operator, norm, x):
    found = folded(way, modules.Before(operator, norm), x)
    assert found.batch_norms_folded == 1
    assert not any("norm" in name for name in found.names)


def test_linear_before_batch_norm_on_another_axis_stays(way):
    found = folded(way, modules.Before(nn.Linear(5, 4), nn.BatchNorm1d(4)), torch.randn(2, 4, 5))
    assert found.batch_norms_folded == 0
    assert found.reasons == [Reason.WRONG_AXIS]


def test_conv_called_twice_keeps_its_other_call(way):
    assert folded(way, modules.CalledTwice(), FOUR).batch_norms_folded == 1


def test_tied_weights_part(way):
    found = folded(way, modules.Tied(), FOUR)
    # torch.jit.freeze makes one convolution of the two, and then its output is also given to the caller.
    assert found.batch_norms_folded == (0 if way == "frozen" else 1)


def test_a_weight_read_elsewhere_keeps_its_values(way):
    assert folded(way, modules.ReadsWeight(), IMAGE).batch_norms_folded == 1


def test_a_conv_read_elsewhere_stays(way):
    assert folded(way, modules.ReadsOutput(), IMAGE).reasons == [Reason.OTHER_CONSUMERS]


def test_an_output_in_the_middle_stays(way):
    found = folded(way, modules.OutputInTheMiddle(), IMAGE)
    assert found.batch_norms_folded == 1
    assert len(found.reasons) == 1


def test_relu_in_place(way):
    assert folded(way, modules.InPlace(), IMAGE).batch_norms_folded == 2


def test_what_changes_through_a_view_stays(way):
    assert folded(way, modules.InPlaceNoticed(), IMAGE).batch_norms_folded == 0


def test_halves(way):
    assert folded(way, modules.Halves(), IMAGE).batch_norms_folded == 1


def test_a_list_that_grows(way):
    assert folded(way, modules.Appends(), IMAGE).batch_norms_folded == 1


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, momentum=None), nn.BatchNorm2d(4, eps=0.5)]
)
def test_unusual_batch_norms(way, norm):
    assert folded(way, modules.Before(nn.Conv2d(3, 4, 3), norm), IMAGE).batch_norms_folded == 1


def test_without_running_statistics_it_stays(way):
    found = folded(way, modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), IMAGE)
    assert found.reasons == [Reason.TRAINING_MODE]


@pytest.mark.parametrize("way", ["scripted", "traced"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_training_mode_stays_unless_inference_is_assumed(way, momentum):
    module = randomised(modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum))).train()
    if way == "traced" and momentum is None:
        pytest.skip("torch.jit.trace writes the batch count down as a constant")
    module = compiled(module, way, IMAGE)
    assert fold(module, IMAGE).reasons == [Reason.TRAINING_MODE]


def test_training_mode_assumed_to_be_inference():
    module = randomised(modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    scripted = compiled(module, "scripted", IMAGE)
    training = compiled(module.train(), "scripted", IMAGE)
    found = fold(training, IMAGE, assume_inference=True)
    assert found.batch_norms_folded == 1
    assert_same(scripted, found.module, IMAGE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(way, dtype):
    module = modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(dtype)
    module = randomised(module)
    module.norm.running_var.fill_(2.0)
    found = fold_and_compare(compiled(module, way, IMAGE.to(dtype)), IMAGE.to(dtype))
    assert found.batch_norms_folded == 1
    assert {tensor.dtype for tensor in found.module.state_dict().values()} <= {dtype}


def test_not_finite_parameters_stay(way):
    module = randomised(modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    module.norm.running_mean[1] = float("nan")
    found = fold(compiled(module, way, IMAGE), IMAGE)
    assert found.reasons == [Reason.NOT_FINITE]
