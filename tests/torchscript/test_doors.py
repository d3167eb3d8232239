"""Scripts through the doors of the Python API: files and modules in memory."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.errors import UsageError  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript import modules  # noqa: E402
from tests.torchscript.folding import assert_same, compiled  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 7)


@pytest.fixture
def script():
    return compiled(randomised(modules.Before(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), "scripted")


def test_a_module_in_memory(script):
    result = bnfold.fold(script, verify=VerifyOptions(shapes={"x": (2, 3, 6, 7)}))
    assert isinstance(result.model, torch.jit.ScriptModule)
    assert result.report.batch_norms.folded == 1
    assert result.report.verification.passed
    assert_same(script, result.model, IMAGE)


def test_the_shape_is_asked_for_where_no_weight_says_it():
    with pytest.raises(UsageError, match=r"the inputs are input \(Tensor\)"):
        bnfold.fold(compiled(nn.ReLU(), "scripted"))
