"""--assume-inference: the report says that the comparison was not with the original as it is."""

import pytest

import bnfold
from tests.networks import Network

SHAPE = [2, 3, 4, 4]


def model(**attributes):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 3, **attributes)
    return network.model({"x": SHAPE}, {"y": SHAPE})


@pytest.mark.parametrize("training", [0, 1])
@pytest.mark.parametrize("asked", [False, True])
def test_the_report_says_how_the_original_was_read(training, asked):
    report = bnfold.fold(model(training_mode=training), assume_inference=asked).report
    assert report.read_as_inference is bool(training and asked)
    assert report.batch_norms.folded == (0 if training and not asked else 1)


@pytest.mark.parametrize("training", [False, True])
def test_programs_of_pytorch_too(training):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).train(training)
    x = torch.ones(2, 3, 5, 5)
    program = torch.export.export(module, (x,))
    assert bnfold.fold(program, assume_inference=True, verify=None).report.read_as_inference is training
    from tests.torchscript.folding import deprecations_silenced

    with deprecations_silenced():
        script = torch.jit.script(module)
    assert bnfold.fold(script, assume_inference=True, verify=None).report.read_as_inference is training
