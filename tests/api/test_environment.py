import hashlib
import json
import platform

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.cli.main import main
from bnfold.errors import VerificationError
from bnfold.verification import Verification, VerifyOptions
from tests.networks import Network


@pytest.fixture
def path(tmp_path):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    made = tmp_path / "net.onnx"
    onnx.save(network.model({"x": [2, 3, 5, 5]}, ["y"]), made)
    return made


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_versions_options_and_opsets(path):
    found = bnfold.fold(path, exclude=("a*", "b"), verify=VerifyOptions(samples=2)).report.environment

    versions, options = dict(found.versions), dict(found.options)
    assert (versions["bnfold"], versions["python"]) == (bnfold.__version__, platform.python_version())
    assert versions["onnx"] == onnx.__version__
    assert (options["exclude"], options["verify.samples"], options["affine"]) == ("a*, b", "2", "True")
    assert dict(found.opsets)[""] == onnx.load(path).opset_import[0].version
    assert (found.read, found.written) == ((), ())


def test_values_of_samples_are_not_told(path):
    values = {"x": np.full((2, 3, 5, 5), 0.8125, np.float32)}
    found = bnfold.fold(path, verify=VerifyOptions(inputs=values)).report.environment

    assert dict(found.options)["verify.inputs"] == "x=array of shape (2, 3, 5, 5)"


def test_files_are_named_by_their_content_where_a_report_is_asked_for(path, tmp_path):
    before, report, out = digest(path), tmp_path / "r.json", tmp_path / "out.onnx"

    assert main([str(path), "-o", str(out), "--report", str(report)]) == 0

    found = json.loads(report.read_text())["models"][0]["environment"]
    assert [entry["sha256"] for entry in found["read"]] == [before]
    assert found["written"] == [{"name": "out.onnx", "bytes": out.stat().st_size, "sha256": digest(out)}]


def test_in_place_the_file_is_named_as_it_was(path, tmp_path):
    before, report = digest(path), tmp_path / "r.json"

    assert main([str(path), "--in-place", "--report", str(report)]) == 0

    found = json.loads(report.read_text())["models"][0]["environment"]
    assert [entry["sha256"] for entry in found["read"]] == [before]
    assert [entry["sha256"] for entry in found["written"]] == [digest(path)]
    assert digest(path) != before


def test_external_data_counts_as_well(path, tmp_path):
    model, report = onnx.load(path), tmp_path / "r.json"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)

    assert main([str(path), "-o", str(tmp_path / "out.onnx"), "--report", str(report)]) == 0

    found = json.loads(report.read_text())["models"][0]["environment"]
    assert [(entry["name"], entry["sha256"]) for entry in found["read"]] == [
        (name, digest(tmp_path / name)) for name in ("net.onnx", "net.data")
    ]
    assert found["written"] == [
        {"name": name, "bytes": (tmp_path / name).stat().st_size, "sha256": digest(tmp_path / name)}
        for name in (entry["name"] for entry in found["written"])
    ]


def test_a_plan_has_an_environment_without_a_result(path, tmp_path):
    report = tmp_path / "r.json"

    assert main([str(path), "--dry-run", "--report", str(report)]) == 0

    found = json.loads(report.read_text())["models"][0]["environment"]
    assert [entry["sha256"] for entry in found["read"]] == [digest(path)]
    assert found["written"] == []


def test_a_failed_check_has_one_too(path, monkeypatch):
    monkeypatch.setattr("bnfold.api.pipeline.verdict_of", lambda *_: Verification("failed", 1, 0, problem="no"))
    with pytest.raises(VerificationError) as failed:
        bnfold.fold(path)

    assert failed.value.report.environment.versions
