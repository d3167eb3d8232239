"""The recipe for Dask: its script, on a cluster of this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dask[distributed]'")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "fold_on_dask.py"


def test_a_folder_of_models_is_folded(tmp_path):
    """One of them is broken: it is told, and the others are folded."""
    models, results = tmp_path / "models", tmp_path / "results"
    (models / "deeper").mkdir(parents=True)
    digits = ROOT / "examples" / "digits_cnn.onnx"
    for name in ("a.onnx", "deeper/b.onnx", "old.folded.onnx"):
        shutil.copyfile(digits, models / name)
    (models / "broken.onnx").write_bytes(digits.read_bytes()[:1000])
    command = [sys.executable, str(SCRIPT), str(models), str(results), "--workers", "2", "--", "--no-verify"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    assert done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in (results / "folded.jsonl").read_text().splitlines()]
    assert sorted(map(json.loads, done.stdout.splitlines()), key=lambda line: line["model"]) == lines
    a, broken, b = lines
    assert [Path(line["model"]).relative_to(models).as_posix() for line in lines] == [
        "a.onnx",
        "broken.onnx",
        "deeper/b.onnx",
    ]
    assert (broken["exit_code"], broken["result"]) == (3, None)
    assert broken["said"].startswith("bnfold: ")
    for line, name in ((a, "a.onnx"), (b, "deeper/b.onnx")):
        assert (line["exit_code"], line["found"], line["folded"]) == (0, 4, 4)
        assert Path(line["result"]) == results / name
        kinds = [node.op_type for node in onnx.load(results / name).graph.node]
        assert "BatchNormalization" not in kinds
    assert sorted(path.name for path in results.rglob("*") if path.is_file()) == ["a.onnx", "b.onnx", "folded.jsonl"]
