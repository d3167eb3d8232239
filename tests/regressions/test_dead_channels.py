"""Channels of which training left nothing but the shift: their weights underflow when they fold, and are 0 then."""

import numpy as np
import pytest

import bnfold
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.test_quantized import batch_norm, quantized_conv

SHAPE = [2, 3, 5, 5]


def with_scales(scales, *, weight=1.0, dtype="float32", shift=0.25):
    """A convolution and a BatchNorm with these scales; all weights have the same size, and the mean is 0."""
    network = Network()
    signs = np.sign(network.random.normal(size=(len(scales), 3, 1, 1)))
    network.constant("w", signs * weight, dtype)
    network.node("Conv", ["x", "w"], "c")
    network.batch_norm("c", "y", len(scales), dtype=dtype)
    for name, values in (("scale", scales), ("mean", 0), ("var", 1), ("bias", shift)):
        network.constant(f"y.{name}", np.broadcast_to(values, len(scales)), dtype)
    return network.model({"x": SHAPE}, ["y"], dtype=dtype)


def weights(model):
    return next(onnx_array(tensor) for tensor in model.graph.initializer if tensor.name == "w")


def onnx_array(tensor):
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


@pytest.mark.parametrize("shift", [0.25, -3.0, 0.0, 1e-40])
@pytest.mark.parametrize("dead", [1e-41, -1e-41])
def test_a_channel_that_is_its_shift_alone(shift, dead):
    model = with_scales([1.0, dead, -2.0], weight=1e-30, shift=[1.0, shift, 0.0])
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert [entry.dead_channels for entry in folded.folds] == [1]
    assert not weights(folded.model)[1].any()
    assert weights(folded.model)[[0, 2]].all()


def test_a_channel_that_only_looks_dead_stays():
    """A scale of 1e-41 times a weight of 1e-3 is lost in float32, but an input of 1e20 would show."""
    model = with_scales([1.0, 1e-41], weight=1e-3, shift=0.0)
    folded = fold(model)
    assert folded.reasons == [Reason.UNDERFLOW]
    assert folded.model == model


def test_in_float16_every_input_counts():
    assert fold(with_scales([1.0, 6e-8], weight=1e-2, dtype="float16", shift=0.25)).reasons == [Reason.UNDERFLOW]
    folded = fold_and_compare(with_scales([1.0, 6e-8], weight=1e-2, dtype="float16", shift=20.0))
    assert [entry.dead_channels for entry in folded.folds] == [1]


def test_a_scale_of_zero_is_no_dead_channel():
    folded = fold_and_compare(with_scales([1.0, 0.0]))
    assert [entry.dead_channels for entry in folded.folds] == [0]


def test_integer_weights_get_no_scale_of_zero():
    network = Network()
    quantized_conv(network)
    batch_norm(network, [1.0, 1e-44, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0])
    network.constant("q.scale", [1e-30] * 4)
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.reasons == [Reason.UNDERFLOW]
    assert "would be 0" in folded.kept[0].refusals[0].evidence


def test_the_report_says_how_many_and_the_check_agrees():
    report = bnfold.fold(with_scales([1.0, 1e-41, 1e-42], weight=1e-30)).report
    assert report.verification.passed
    assert [entry.dead_channels for entry in report.outcome.folds] == [2]


def test_programs_of_pytorch_too():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        module[0].weight.fill_(1e-30)
        module[1].weight[1] = 1e-41
    result = bnfold.fold(torch.export.export(module, (torch.ones(2, 3, 5, 5),)))
    assert [entry.dead_channels for entry in result.report.outcome.folds] == [1]
