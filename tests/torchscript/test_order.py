"""What ran before in the same process changes nothing: torch lets modules share classes, and with them their code."""

import io
import itertools

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.frontends.onnx_export import export_to_onnx  # noqa: E402
from bnfold.frontends.torchscript.file import save_script  # noqa: E402
from bnfold.frontends.torchscript.ir import methods_of  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript import modules  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced, fold  # noqa: E402

FOUR = torch.randn(2, 4, 6, 7)
VERIFIED = VerifyOptions(samples=1, shapes={"x": (2, 4, 6, 7)})
RUNS = itertools.count(1)


@pytest.fixture
def eps():
    """Another one for each test, because it is part of the class: no test before can have changed this one's code."""
    return 1e-5 * (1 + next(RUNS) / 1000)


@pytest.fixture
def source(eps):
    """The module of Python; scripted twice, both share their classes."""
    return randomised(modules.Before(nn.Sequential(nn.Conv2d(4, 4, 1)), nn.BatchNorm2d(4, eps)))


@pytest.fixture
def neighbour(eps):
    """Another module, with a BatchNorm of the same class."""
    return compiled(randomised(modules.Before(nn.ConvTranspose2d(4, 4, 2), nn.BatchNorm2d(4, eps))), "scripted")


def code_of(module):
    """Every graph of every method, as text."""
    return [(*method.member, str(method.graph)) for method in methods_of(module._c)]


def bytes_of(module):
    buffer = io.BytesIO()
    with deprecations_silenced():
        torch.jit.save(module, buffer)
    return buffer.getvalue()


def assert_identical(first, second):
    assert list(first.state_dict()) == list(second.state_dict())
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in second.state_dict().items())
    assert bytes_of(first) == bytes_of(second)


def test_a_module_folded_again_after_others(source, neighbour):
    first = fold(compiled(source, "scripted"), FOUR).module
    for _ in range(2):
        assert bnfold.fold(neighbour, verify=VERIFIED).report.verification.passed
    second = fold(compiled(source, "scripted"), FOUR).module
    assert set(second.state_dict()) == {"operator.0.weight", "operator.0.bias"}
    assert_identical(first, second)


def test_a_module_verified_twice(source):
    script = compiled(source, "scripted")
    first, second = (bnfold.fold(script, verify=VERIFIED).model for _ in range(2))
    assert set(second.state_dict()) == {"operator.0.weight", "operator.0.bias"}
    assert_identical(first, second)


def test_a_file_folded_again_after_others(source, neighbour, tmp_path):
    path, target = tmp_path / "model.pt", tmp_path / "folded.pt"
    save_script(compiled(source, "scripted"), path)
    written = []
    for _ in range(2):
        report = bnfold.fold_file(path, target, bnfold.FoldOptions(verify=VERIFIED))
        assert report.batch_norms.folded == 1
        written.append(target.read_bytes())
        target.unlink()
        bnfold.fold(neighbour, verify=VERIFIED)
    assert written[0] == written[1]


def test_an_export_leaves_the_code_of_modules_alone(source, neighbour):
    script = compiled(source, "scripted")
    before = [code_of(module) for module in (script, neighbour)]
    export_to_onnx(script, [FOUR])
    assert [code_of(module) for module in (script, neighbour)] == before


def test_folding_leaves_the_code_of_modules_alone(source, neighbour):
    script = compiled(source, "scripted")
    before = [code_of(module) for module in (script, neighbour)]
    bnfold.fold(script, verify=VERIFIED)
    assert [code_of(module) for module in (script, neighbour)] == before
