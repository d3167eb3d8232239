"""The bundle that is saved where the check fails: its script shows the difference, and needs no bnfold."""

import os
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import bnfold
from bnfold.api.formats import onnx_models
from bnfold.cli.main import main
from bnfold.errors import UsageError, VerificationError
from bnfold.guard import can_guard
from bnfold.verifier.reproduction import write_reproduction
from tests.networks import Network

FILES = ["inputs.npz", "new.onnx", "original.onnx", "outputs.npz", "show.py"]


def network():
    """Two folds, with more around them."""
    made = Network()
    made.node("Conv", ["x", made.weight("w", 5, 3, 3, 3), made.weight("b", 5)], "/c/out")
    made.batch_norm("/c/out", "/n/out", 5)
    made.node("Relu", ["/n/out"], "r")
    made.node("Conv", ["r", made.weight("v", 4, 5, 1, 1), made.weight("d", 4)], "e")
    made.batch_norm("e", "m", 4)
    made.node("Tanh", ["m"], "y")
    return made.model({"x": (2, 3, 8, 8)}, ["y"])


def off(name, index, factor):
    def change(model):
        (tensor,) = [entry for entry in model.graph.initializer if entry.name == name]
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.reshape(values.shape[0], -1)[index] *= np.asarray(factor, values.dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))

    return change


@pytest.fixture
def faulty(monkeypatch):
    """Folds of which something is changed before they are written or kept."""

    def make(change):
        for way in ("keep", "save"):
            real = getattr(onnx_models.OnnxFolded, way)

            def wrong(self, *places, real=real):
                change(self.opened.model)
                return real(self, *places)

            monkeypatch.setattr(onnx_models.OnnxFolded, way, wrong)

    return make


def shown(folder):
    """What the script prints, in a process that cannot import bnfold."""
    script = folder / "show.py"
    assert "bnfold" not in script.read_text()
    assert len(script.read_text().splitlines()) <= 16
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import runpy; runpy.run_path({str(script)!r})"],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        check=True,
    )
    return result.stdout


def difference(text):
    return float(re.search(r"largest difference ([^ ,]+)", text)[1])


def save_of(model, place, **options):
    with pytest.raises(VerificationError) as raised:
        bnfold.fold(model, save_repro=place, **options)
    return raised.value


def test_it_holds_the_part_that_differs_and_the_script_shows_it(tmp_path, faulty):
    faulty(off("w", 2, 1.01))
    error = save_of(network(), tmp_path / "repro")
    assert sorted(os.listdir(tmp_path / "repro")) == FILES
    assert f"python {tmp_path / 'repro'}/show.py" in error.report.warnings[-1]
    operators = [
        [node.op_type for node in onnx.load(tmp_path / "repro" / name).graph.node]
        for name in ("original.onnx", "new.onnx")
    ]
    assert operators == [["Conv", "BatchNormalization"], ["Conv"]]
    text = shown(tmp_path / "repro")
    assert text.startswith("/n/out: shape")
    assert ", 2, " in text, "the channel that is wrong"
    assert difference(text) > 1e-3


def test_values_and_outputs_are_those_of_the_script(tmp_path, faulty):
    faulty(off("b", 1, 1.5))
    save_of(network(), tmp_path)
    inputs, outputs = (list(np.load(tmp_path / name).values()) for name in ("inputs.npz", "outputs.npz"))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    made = []
    for name in ("original.onnx", "new.onnx"):
        session = ort.InferenceSession(tmp_path / name, options)
        made += session.run(None, {session.get_inputs()[0].name: inputs[0]})
    for one, other in zip(made, outputs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(outputs[0], outputs[1])


def test_a_fault_that_no_sample_shows_is_shown(tmp_path, faulty):
    """Behind a Relu that is always off, nothing of it reaches an output."""
    faulty(off("v", 3, 1.2))
    save_of(network(), tmp_path)
    assert difference(shown(tmp_path)) > 1e-3


def test_in_the_second_fold_the_part_begins_behind_the_first(tmp_path, faulty):
    faulty(off("d", 0, 3.0))
    save_of(network(), tmp_path)
    assert [entry.name for entry in onnx.load(tmp_path / "original.onnx").graph.input] == ["r"]
    assert difference(shown(tmp_path)) > 0


def test_a_model_that_does_not_load_is_there_to_be_tried(tmp_path, faulty):
    def spoil(model):
        model.graph.node[0].input[1] = "nobody"

    faulty(spoil)
    save_of(network(), tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        shown(tmp_path)
    assert "Node input 'nobody' is not a graph input" in raised.value.stderr


def test_where_the_check_passes_there_is_nothing(tmp_path):
    bnfold.fold(network(), save_repro=tmp_path / "repro")
    assert not (tmp_path / "repro").exists()


def test_what_reverts_is_saved_before_it_does(tmp_path, faulty):
    changed = []

    def once(model):
        if not changed:
            off("w", 2, 1.01)(model)
        changed.append(0)

    faulty(once)
    result = bnfold.fold(network(), save_repro=tmp_path, on_mismatch="revert")
    assert result.report.verification.passed
    assert "show.py" in result.report.warnings[-1]
    assert difference(shown(tmp_path)) > 1e-3


@pytest.mark.parametrize("there", ["file", "full folder", "dangling link"])
def test_what_is_there_already_is_left_alone(tmp_path, there, faulty):
    faulty(off("w", 2, 1.01))
    place = tmp_path / "repro"
    if there == "file":
        place.write_text("mine")
    elif there == "full folder":
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is there already and not an empty folder"):
        bnfold.fold(network(), save_repro=place)
    if there == "full folder":
        assert os.listdir(place) == ["notes.txt"]


def test_weights_beside_the_file_are_inside_the_bundle(tmp_path):
    right, wrong, folder = network(), network(), tmp_path / "repro"
    off("w", 2, 1.01)(wrong)
    for name, model in (("m", right), ("w", wrong)):
        place = tmp_path / f"{name}.onnx"
        onnx.save(model, place, save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    paths = tmp_path / "m.onnx", tmp_path / "w.onnx"
    verdict = bnfold.verify(*paths)
    assert not verdict.passed
    folder.mkdir()
    write_reproduction(*paths, verdict, bnfold.VerifyOptions(), folder)
    for name in ("original.onnx", "new.onnx"):
        data = (folder / name).read_bytes()
        assert [node.op_type for node in onnx.load_from_string(data).graph.node] == ["Conv"]
        ort.InferenceSession(data)


COMMAND = """
import sys
import onnx
from bnfold.api.formats.onnx_models import OnnxFolded
from bnfold.cli.main import main

real = OnnxFolded.save

def wrong(self, folder, target):
    (tensor,) = [entry for entry in self.opened.model.graph.initializer if entry.name == "w"]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.5, "w"))
    return real(self, folder, target)

OnnxFolded.save = wrong
sys.exit(main(sys.argv[1:]))
"""


def command(*arguments):
    """The command with wrong folds, in an interpreter of its own: this one has threads, and is not to be forked."""
    call = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not can_guard(), reason="this system cannot fork")
def test_the_bundle_comes_out_of_the_guarded_process_and_the_command_says_where_it_is(tmp_path):
    onnx.save(network(), tmp_path / "m.onnx")
    place = tmp_path / "a" / "repro"
    result = command(tmp_path / "m.onnx", "--save-repro", place)
    assert result.returncode == 1
    assert f"python {place}/show.py" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["a", "m.onnx"]
    assert sorted(os.listdir(place)) == FILES
    assert difference(shown(place)) > 1e-3


@pytest.mark.skipif(not can_guard(), reason="this system cannot fork")
def test_each_of_several_models_has_a_folder_of_its_own(tmp_path):
    models = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in models:
        onnx.save(network(), path)
    assert command(*models, "--save-repro", tmp_path / "repro").returncode == 1
    assert sorted(os.listdir(tmp_path / "repro")) == ["a.onnx", "b.onnx"]
    assert sorted(os.listdir(tmp_path / "repro" / "b.onnx")) == FILES


@pytest.mark.skipif(not can_guard(), reason="this system cannot fork")
def test_any_two_models_can_be_asked_for_one(tmp_path):
    wrong = network()
    off("v", 1, 1.02)(wrong)
    onnx.save(network(), tmp_path / "a.onnx")
    onnx.save(wrong, tmp_path / "b.onnx")
    place = tmp_path / "repro"
    result = command("verify", tmp_path / "a.onnx", tmp_path / "b.onnx", "--save-repro", place)
    assert result.returncode == 1
    assert f"python {place}/show.py" in " ".join((result.stdout + result.stderr).split())
    assert sorted(os.listdir(place)) == FILES
    assert difference(shown(place)) > 1e-3


@pytest.mark.skipif(not can_guard(), reason="this system cannot fork")
def test_of_equal_models_there_is_none(tmp_path):
    onnx.save(network(), tmp_path / "a.onnx")
    assert (
        command("verify", tmp_path / "a.onnx", tmp_path / "a.onnx", "--save-repro", tmp_path / "repro").returncode == 0
    )
    assert not (tmp_path / "repro").exists()


@pytest.mark.parametrize("flag", ["--no-verify", "--dry-run"])
def test_without_a_check_it_means_nothing(tmp_path, flag, capsys):
    assert main([str(tmp_path / "m.onnx"), "--save-repro", str(tmp_path / "r"), flag]) == 2
    assert "--save-repro means nothing with" in capsys.readouterr().err


def test_of_a_program_it_is_said_that_there_is_nothing(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    from bnfold.api.formats.program_candidates import KeptProgram
    from tests.torch_modules import randomised
    from tests.torchscript.folding import compiled

    failed = bnfold.Verification("failed", 1, 0, problem="differs")
    monkeypatch.setattr(KeptProgram, "check", lambda *_: failed)
    module = randomised(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))).eval()
    error = save_of(compiled(module, "traced", torch.ones(1, 3, 4, 4)), tmp_path / "repro")
    assert "parts of a program of PyTorch cannot be run without it" in error.report.warnings[-1]
    assert not (tmp_path / "repro").exists()


def branch(seed):
    made = Network(seed=seed)
    made.node("Conv", ["x", made.weight(f"w{seed}", 4, 3, 3, 3)], f"c{seed}")
    made.batch_norm(f"c{seed}", f"y{seed}", 4)
    body = made.model({"x": (2, 3, 6, 6)}, [f"y{seed}"]).graph
    del body.input[:]
    return body


@pytest.mark.parametrize("taken", [1, 2])
def test_the_branch_that_is_wrong_is_taken_even_if_no_sample_does(tmp_path, faulty, taken):
    inputs = [
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (2, 3, 6, 6)),
        onnx.helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, ()),
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (2, 4, 4, 4))
    node = onnx.helper.make_node("If", ["condition"], ["y"], then_branch=branch(1), else_branch=branch(2))
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    def change(folded):
        for attribute in folded.graph.node[0].attribute:
            for tensor in attribute.g.initializer:
                if tensor.name.startswith(f"w{taken}"):
                    values = onnx.numpy_helper.to_array(tensor) * np.float32(1.5)
                    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    faulty(change)
    error = save_of(model, tmp_path)
    assert "no more than rounding" not in error.report.warnings[-1]
    assert difference(shown(tmp_path)) > 0.1


def test_whole_models_are_saved_where_no_part_is_to_blame(tmp_path, faulty):
    def rename(model):
        model.graph.node[-1].output[0] = model.graph.output[0].name = "z"

    faulty(rename)
    save_of(network(), tmp_path)
    assert [node.op_type for node in onnx.load(tmp_path / "original.onnx").graph.node] == [
        node.op_type for node in network().graph.node
    ]
    assert shown(tmp_path).startswith("y: shape (2, 4, 6, 6)")


def test_what_only_float64_shows_is_said(tmp_path, faulty):
    """One number off by a few units of its last place is a fault, and nothing that float32 shows."""
    faulty(off("w", 2, 1 + 2e-6))
    error = save_of(network(), tmp_path)
    assert "onnxruntime shows no more than rounding there" in error.report.warnings[-1]
    assert sorted(os.listdir(tmp_path)) == FILES
