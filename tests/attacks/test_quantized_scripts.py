"""Legal modules whose own code runs while they are loaded: quantized ones unpack their weights."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.frontends.torchscript.file import open_script, save_script  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402


@pytest.fixture
def quantized():
    """A network of quantized convolutions, whose engine this machine must have."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of torch has no fbgemm")
    quantization = torch.ao.quantization
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stubs = quantization.QuantStub(), quantization.DeQuantStub()
        module = nn.Sequential(stubs[0], nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), stubs[1]).eval()
        module.qconfig = quantization.get_default_qconfig("fbgemm")
        quantization.prepare(module, inplace=True)
        module(torch.ones(1, 3, 8, 8))
        yield quantization.convert(module, inplace=True)


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_it_is_loaded(quantized, way, tmp_path):
    x = torch.linspace(0, 1, 192).reshape(1, 3, 8, 8)
    script = compiled(quantized, way, *([x] if way == "traced" else []))
    save_script(script, tmp_path / "model.pt")
    assert torch.equal(open_script(tmp_path / "model.pt")(x), script(x))
