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


def two_models(folder):
    net = Network()
    convolved = net.node("Conv", ["x", net.weight("w", 4, 3, 3, 3)], "c")
    net.batch_norm(convolved, "y", 4)
    models = [folder / name for name in ("m.onnx", "n.onnx")]
    for path in models:
        onnx.save(net.model({"x": [1, 3, 8, 8]}, ["y"]), path)
    return list(map(str, models))


def of_the_verifier(modules):
    return [name for name in modules if name.startswith(("bnfold.verifier", "onnxruntime", "torch"))]


@pytest.mark.parametrize("how", ["--no-verify", "--dry-run"])
def test_nothing_of_the_verifier_is_imported_where_nothing_is_compared(tmp_path, how):
    output = [] if how == "--dry-run" else ["-o", str(tmp_path / "out")]
    answer, modules = modules_after(*two_models(tmp_path), how, *output)

    assert answer == 0
    assert "bnfold.engine" in modules
    assert not of_the_verifier(modules)


def test_what_several_models_are_compared_with_is_imported_once_for_all(tmp_path):
    """Each is compared in a process of its own, which has it from this one."""
    answer, modules = modules_after(*two_models(tmp_path), "-o", str(tmp_path / "out"))

    assert answer == 0
    assert {"onnxruntime", "bnfold.verifier"} <= set(of_the_verifier(modules))
    assert "torch" not in modules
