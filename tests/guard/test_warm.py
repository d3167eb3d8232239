"""What several children need is imported once."""

import subprocess
import sys

import pytest

from bnfold.guard import import_unused
from bnfold.guard.warm import is_unused


def test_a_package_is_imported_and_known_to_be_unused(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    import_unused("colorsys")
    assert "colorsys" in sys.modules
    assert is_unused("colorsys")


def test_what_was_there_before_may_have_been_used():
    import_unused("json")
    assert not is_unused("json")


def test_a_package_that_is_missing_is_no_error_here():
    import_unused("a_package_that_nobody_has")
    assert not is_unused("a_package_that_nobody_has")


# In an interpreter of its own, with threads of torch that have worked before the fork.
FORKED = """
import sys
from pathlib import Path
import torch
from bnfold.guard import Limits, run_guarded
torch.set_num_threads(2)
x = torch.ones(1500, 1500)
x @ x
(x + 1).sum()

def work(_):
    return f"{(x @ x).max():.0f} {(x + 1).sum():.0f}"

print(run_guarded(work, print, Path("no.onnx"), Path(sys.argv[1]), Limits()))
"""


def test_torch_computes_behind_a_fork_whatever_it_did_before(tmp_path):
    """Its threads are gone there; a pool that waits for them waits for ever."""
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["1500", "4500000"], done.stderr
