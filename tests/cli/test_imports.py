"""Asking for help must not cost the start of onnxruntime."""

import json
import subprocess
import sys

import onnx
import pytest

from tests.networks import Network

HEAVY = {"onnx", "onnxruntime", "torch", "numpy", "ml_dtypes", "rich"}
PROBE = """
import json, sys
from bnfold.cli.main import main
code = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def modules_after(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["m.onnx", "--nonsense"], 2),
        ([], 2),
        (["verify", "-h"], 0),
        (["verify", "a.onnx"], 2),
        (["explain", "BNF201"], 0),
        (["explain", "no-such-code"], 2),
    ],
)
def test_answers_without_a_model_import_nothing_heavy(arguments, code):
    answer, modules = modules_after(*arguments)

    assert answer == code
    assert not HEAVY & modules
    assert "bnfold.cli.main" in modules


def test_onnx_files_are_folded_without_torch(tmp_path):
    (tmp_path / "m.onnx").write_text("no model")

    answer, modules = modules_after(str(tmp_path / "m.onnx"))

    assert answer == 3
    assert "onnx" in modules
    assert "torch" not in modules


@pytest.mark.parametrize("how", ["--no-verify", "--dry-run"])
def test_nothing_of_the_verifier_is_imported_where_nothing_is_compared(tmp_path, how):
    net = Network()
    convolved = net.node("Conv", ["x", net.weight("w", 4, 3, 3, 3)], "c")
    net.batch_norm(convolved, "y", 4)
    onnx.save(net.model({"x": [1, 3, 8, 8]}, ["y"]), tmp_path / "m.onnx")

    answer, modules = modules_after(str(tmp_path / "m.onnx"), how, "-o", str(tmp_path / "out.onnx"))

    assert answer == 0
    assert "bnfold.engine" in modules
    assert not [name for name in modules if name.startswith(("bnfold.verifier", "onnxruntime", "torch"))]
