"""Loading and running: sources, errors, silence, and what stays unimported and unchanged."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bnfold.errors import VerificationError
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.run import session
from tests.verifier.small_models import DOUBLE, FLOAT, ConvBatchNorm, model, model_proto, node, unary


def test_importing_the_judge_imports_neither_onnxruntime_nor_onnx():
    code = (
        "import sys, bnfold.verifier; print([name for name in ('onnxruntime', 'onnx', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_sources_are_paths_as_strings_or_objects_or_bytes(tmp_path):
    network = ConvBatchNorm()
    path = tmp_path / "folded.onnx"
    path.write_bytes(network.folded())
    for candidate in (path, str(path), network.folded()):
        assert check(network.original(), candidate, VerifyOptions()).passed


def save_with_data(folder: Path, factor: float) -> Path:
    proto = model_proto(
        [node("Mul", "x w", "y")], {"x": (FLOAT, [2, 300])}, {"y": (FLOAT, [2, 300])},
        {"w": np.full(300, factor, np.float32)},
    )  # fmt: skip
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="model.data", size_threshold=0)
    return path


def test_external_data_is_found_beside_each_model(tmp_path):
    one, same, other = (save_with_data(tmp_path / name, factor) for name, factor in (("a", 1), ("b", 1), ("c", 2)))
    assert (one.parent / "model.data").stat().st_size == 1200
    assert check(one, same, VerifyOptions()).passed
    assert not check(one, other, VerifyOptions()).passed


def test_missing_external_data_of_the_original_is_an_error(tmp_path):
    path = save_with_data(tmp_path / "a", 1)
    (path.parent / "model.data").unlink()
    with pytest.raises(VerificationError, match=r"cannot load the original: .*model\.data"):
        check(path, path, VerifyOptions())


@pytest.mark.parametrize("content", [b"", b"not a model at all"], ids=["empty", "text"])
def test_an_original_that_does_not_load_is_one_clear_line(content):
    with pytest.raises(VerificationError) as error:
        check(content, unary("Relu"), VerifyOptions())
    assert str(error.value).startswith("onnxruntime cannot load the original: ")
    assert "ONNXRuntimeError" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_original_without_a_kernel_is_an_error():
    # onnxruntime's CPU provider has no Conv of float64.
    ports = {"x": (DOUBLE, [1, 1, 4, 4])}, {"y": (DOUBLE, [1, 1, 4, 4])}
    original, new = (model([node("Conv", "x w", "y")], *ports, {"w": np.full((1, 1, 1, 1), by)}) for by in (1.0, 2.0))
    with pytest.raises(VerificationError, match=r"implementation for Conv"):
        check(original, new, VerifyOptions())


def test_an_original_that_does_not_run_is_an_error():
    square = model([node("MatMul", "x x", "y")], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, None)}, ir_version=3)
    with pytest.raises(VerificationError, match="the original"):
        check(square, square, VerifyOptions())


def test_nothing_is_written(tmp_path, monkeypatch):
    network = ConvBatchNorm()
    path = tmp_path / "model.onnx"
    path.write_bytes(network.original())
    monkeypatch.chdir(tmp_path)
    assert check(path, network.folded(), VerifyOptions()).passed
    assert not check(path, network.folded(spoil_bias=lambda bias: bias.fill(0)), VerifyOptions()).passed
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == network.original()


def test_nothing_is_printed(tmp_path, capfd):
    # onnxruntime warns of an initializer that nothing reads, and logs every run that fails.
    unread = model([node("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, {"unread": np.float32([1])})
    square = model([node("MatMul", "x x", "y")], {"x": (FLOAT, ["n", "m"])}, {"y": (FLOAT, ["n", "m"])})
    assert check(unread, unread, VerifyOptions()).passed
    for broken, options in ((square, {"shapes": {"x": (2, 3)}}), (b"rubbish", {}), (tmp_path, {})):
        with pytest.raises(VerificationError):
            check(broken, broken, VerifyOptions(**options))
    assert capfd.readouterr() == ("", "")


def test_the_same_check_gives_the_same_verdict():
    network = ConvBatchNorm()
    verdicts = [check(network.original(), network.folded(), VerifyOptions(seed=3)) for _ in range(2)]
    assert verdicts[0].outputs[0].max_abs == verdicts[1].outputs[0].max_abs
    assert verdicts[0].seed == 3


@pytest.mark.parametrize("most", [0, 2**28])
def test_onnxruntime_copies_no_large_weights(monkeypatch, tmp_path, most):
    """Where they are small, all of its optimisers and kernels are checked."""
    made = []
    session_of = onnxruntime.InferenceSession

    def noted(data, settings, **arguments):
        try:
            packs = settings.get_session_config_entry("session.disable_prepacking") == "0"
        except RuntimeError:  # nobody has said
            packs = True
        made.append((packs, "NchwcTransformer" not in arguments["disabled_optimizers"]))
        return session_of(data, settings, **arguments)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    monkeypatch.setattr(session, "_MOST_COPIED", most)
    path = save_with_data(tmp_path / "a", 1)
    assert check(path, save_with_data(tmp_path / "b", 1), VerifyOptions()).passed
    assert made
    assert set(made) == {(bool(most), bool(most))}
