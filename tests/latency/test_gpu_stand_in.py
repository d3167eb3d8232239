"""The part for GPUs where there is none: a stand-in notes in which order torch.cuda is asked for what.

It shows that a run ends when the device is done, that a graph is recorded as torch asks for, and that everything moves.
What a GPU makes of it, and how long that takes, it cannot show.
"""

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.latency import under_torch  # noqa: E402
from bnfold.timings import BenchOptions  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402

X = torch.ones(2, 3, 6, 6)


class Notes(list):
    """What was asked of the device, in order."""

    def stand_in_for(self, monkeypatch):
        """Put objects that only take notes in place of torch.cuda's."""
        notes = self

        class Stream:
            def __init__(self, name):
                self.name = name

            def wait_stream(self, other):
                notes.append(f"{self.name} waits for {other.name}")

        class Graph:
            def replay(self):
                notes.append("replay")

        @contextmanager
        def inside(what):
            notes.append(f"enter {what}")
            yield
            notes.append(f"leave {what}")

        main = Stream("main")
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(f"side of {device}"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: inside(stream.name))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", lambda _graph: inside("recording"))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: notes.append("synchronize"))
        return self


@pytest.fixture
def notes(monkeypatch):
    return Notes().stand_in_for(monkeypatch)


def test_a_run_of_calls_ends_when_the_device_is_done(notes):
    run = under_torch._eager(lambda: notes.append("call"), "cuda")

    run()
    run()
    assert notes == ["call", "synchronize"] * 2


def test_a_graph_is_recorded_behind_calls_on_a_stream_of_its_own_and_then_only_replayed(notes):
    run = under_torch._recorded(lambda: notes.append("call"), "cuda")

    assert notes == [
        "side of cuda waits for main",
        "enter side of cuda",
        *["call"] * 3,
        "leave side of cuda",
        "main waits for side of cuda",
        "enter recording",
        "call",
        "leave recording",
    ]
    notes.clear()
    run()
    run()
    assert notes == ["replay", "synchronize"] * 2


@pytest.mark.parametrize(
    "make", [lambda module, x: compiled(module, "traced", x), export], ids=["TorchScript", "torch.export"]
)
def test_parameters_inputs_and_constants_move_to_the_device(make):
    """The meta device takes no tensor of another one, and neither does a GPU."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
            self.register_buffer("shift", torch.ones(4, 1, 1))

        def forward(self, x):
            return self.layers(x) + self.shift

    program = make(Network().eval(), X)
    with torch.inference_mode():  # as where programs are timed
        called = under_torch._call(program, [X], "meta")()
        on_cpu = under_torch._call(program, [X], "cpu")()
    assert (called.device.type, on_cpu.device.type) == ("meta", "cpu")
    assert called.shape == on_cpu.shape


def test_a_gpu_that_does_not_work_takes_nothing_from_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(under_torch, "_call", _broken_on_a_gpu(under_torch._call))
    program = compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), "traced", X)

    entries = under_torch.time_programs(program, program, BenchOptions(seconds=0), VerifyOptions())
    assert [(entry.device, entry.setting, entry.problem) for entry in entries] == [
        ("cpu", "eager", ""),
        ("cuda", "eager", "CUDA error: out of memory"),
        ("cuda", "CUDA graph", "CUDA error: out of memory"),
    ]


def _broken_on_a_gpu(call):
    def broken(program, leaves, device):
        if device == "cuda":
            raise RuntimeError("CUDA error: out of memory")
        return call(program, leaves, device)

    return broken
