"""Programs of PyTorch timed before and after, in torch."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.latency.under_torch import time_programs  # noqa: E402
from bnfold.timings import BenchOptions  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402

ONCE = BenchOptions(threads=(1, 2), seconds=0)
X = torch.ones(2, 3, 6, 6)


def module():
    return randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).eval()


@pytest.mark.parametrize(
    "make", [lambda module, x: compiled(module, "traced", x), export], ids=["TorchScript", "torch.export"]
)
def test_every_number_of_threads_is_timed(make):
    before = torch.get_num_threads()
    made = bnfold.fold(make(module(), X), bench=ONCE)
    on_cpu = [entry for entry in made.report.latencies if entry.device == "cpu"]
    assert [(entry.runtime, entry.setting, entry.threads) for entry in on_cpu] == [
        ("torch", "eager", 1),
        ("torch", "eager", 2),
    ]
    assert [entry.problem for entry in on_cpu] == ["", ""]
    assert all(entry.runs >= 10 and entry.folded.median > 0 for entry in on_cpu)
    assert torch.get_num_threads() == before


def test_what_is_timed_is_a_copy():
    """A program that counts its calls has as many afterwards as before."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = module()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.layers(x)

    scripted = compiled(Counting().eval(), "scripted")
    entries = time_programs(scripted, scripted, ONCE, VerifyOptions(shapes={"x": (2, 3, 6, 6)}))
    assert entries[0].problem == ""
    assert float(scripted.calls) == 0


def test_trouble_is_said():
    class Broken(nn.Module):
        def forward(self, x):
            return x.view(7)

    traced = compiled(module(), "scripted")
    broken = compiled(Broken(), "scripted")
    entries = time_programs(traced, broken, ONCE, VerifyOptions(shapes={"input": (2, 3, 6, 6)}))
    assert all("invalid for input of size" in entry.problem for entry in entries)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_calls_and_a_cuda_graph_are_timed():
    traced = compiled(module(), "traced", X)
    entries = time_programs(traced, traced, ONCE, VerifyOptions())
    on_gpu = {entry.setting: entry for entry in entries if entry.device == "cuda"}
    assert on_gpu.keys() == {"eager", "CUDA graph"}
    assert [entry.problem for entry in on_gpu.values()] == ["", ""]
