"""Opening a file of TorchScript from Python: what happens on loading happens in a child process first."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")

import bnfold  # noqa: E402
from bnfold.errors import UnsupportedModelError  # noqa: E402
from bnfold.guard import Limits  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402


class Endless(torch.nn.Module):
    """Counts for ever when it is loaded."""

    @torch.jit.export
    def __getstate__(self):
        return (torch.zeros(1), self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.training = state[1]
        count = 0
        while count >= 0:
            count = (count + 1) % 5

    def forward(self, x):
        return x + 1


def test_a_module_that_never_ends_loading_is_an_error(tmp_path, monkeypatch):
    compiled(Endless(), "scripted").save(tmp_path / "endless.pt")
    monkeypatch.setattr("bnfold.api.rehearsal.Limits", lambda: Limits(seconds=1))
    monkeypatch.setattr("bnfold.frontends.torch_archive.scripts.check_code", lambda _code: None)  # which refuses loops

    with pytest.raises(UnsupportedModelError, match=r"endless\.pt needs more than 1 seconds"):
        bnfold.fold(tmp_path / "endless.pt")
