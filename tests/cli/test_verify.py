"""`bnfold verify A B`: any two models, with the exit codes of folding."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bnfold.cli.main import main
from tests.networks import Network


def convolution(seed=3):
    network = Network(seed=seed)
    network.node("Relu", [network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "c")], "y")
    return network.model({"x": ["batch", 3, 8, 8]}, ["y"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """a.onnx, same.onnx, and near.onnx, of which one weight is one percent larger."""
    monkeypatch.chdir(tmp_path)
    model = convolution()
    onnx.save(model, "a.onnx")
    onnx.save(model, "same.onnx")
    (weight,) = model.graph.initializer
    values = numpy_helper.to_array(weight).copy()
    values[2, 1, 0, 0] *= 1.01
    weight.CopyFrom(numpy_helper.from_array(values, "w"))
    onnx.save(model, "near.onnx")
    return tmp_path


def verified(capsys, *arguments):
    code = main(["verify", *arguments])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), printed.err


@pytest.mark.usefixtures("folder")
def test_models_that_are_equal(capsys):
    code, out, err = verified(capsys, "a.onnx", "same.onnx")

    assert (code, err) == (0, "")
    assert out.startswith("same.onnx against a.onnx Same results yes both hold the same nodes and the same numbers")


def test_an_original_that_is_no_model_is_named(folder, capsys):
    (folder / "text.onnx").write_text("hello")

    code, out, err = verified(capsys, "text.onnx", "a.onnx")
    assert (code, out) == (3, "")
    assert err.startswith("bnfold: text.onnx: ")


@pytest.mark.usefixtures("folder")
def test_one_weight_that_is_one_percent_larger(capsys):
    code, out, _ = verified(capsys, "a.onnx", "near.onnx")

    assert code == 1
    assert "Same results NO tensor 'c'" in out


@pytest.mark.usefixtures("folder")
def test_options_of_the_check_arrive(capsys):
    assert verified(capsys, "a.onnx", "near.onnx", "--rtol", "0.1", "--samples", "2", "--dim", "batch=3")[0] == 0
    assert (
        "yes 2 inputs; largest difference"
        in verified(capsys, "a.onnx", "near.onnx", "--rtol", "1", "--samples", "2")[1]
    )
    np.save("x.npy", np.zeros((1, 3, 8, 8), np.float32))
    assert verified(capsys, "a.onnx", "near.onnx", "--input", "x=x.npy", "--no-probe")[0] == 0
    code, _, err = verified(capsys, "a.onnx", "near.onnx", "--dim", "other=3")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.usefixtures("folder")
def test_names_of_other_tensors(capsys):
    model = convolution()
    for node in model.graph.node:
        node.input[:] = ["d" if name == "c" else name for name in node.input]
        node.output[:] = ["d" if name == "c" else name for name in node.output]
    model.graph.node.insert(1, onnx.helper.make_node("Neg", ["d"], ["c"]))
    model.graph.node.insert(2, onnx.helper.make_node("Neg", ["c"], ["e"]))
    model.graph.node[3].input[0] = "e"
    onnx.save(model, "renamed.onnx")

    code, _, err = verified(capsys, "a.onnx", "renamed.onnx")
    assert code == 1
    assert "--no-same-names" in err
    assert verified(capsys, "a.onnx", "renamed.onnx", "--no-same-names")[0] == 0


@pytest.mark.usefixtures("folder")
def test_figures_where_somebody_asks(capsys):
    out = verified(capsys, "a.onnx", "near.onnx", "--rtol", "1", "-v")[1]

    assert "output max abs max rel own noise" in out
    assert "changed tensor" in out


@pytest.mark.usefixtures("folder")
def test_quiet_answers_by_its_code(capsys):
    assert verified(capsys, "a.onnx", "same.onnx", "-q") == (0, "", "")
    code, out, _ = verified(capsys, "a.onnx", "near.onnx", "-q")
    assert (code, out) == (1, "")


def test_what_cannot_be_read_or_run(folder, capsys):
    (folder / "text.onnx").write_text("no model, but a sentence of some length")

    for arguments, code in [
        (("gone.onnx", "a.onnx"), 3),
        (("a.onnx", "gone.onnx"), 3),
        (("text.onnx", "a.onnx"), 3),
        (("a.onnx", "text.onnx"), 1),
        (("a.onnx",), 2),
        (("a.onnx", "same.onnx", "near.onnx"), 2),
        (("a.onnx", "same.onnx", "-q", "-v"), 2),
        (("a.onnx", "same.onnx", "--fail-on-kept"), 2),
    ]:
        answer, _, err = verified(capsys, *arguments)
        assert answer == code, arguments
        assert err.count("\n") <= 1


@pytest.mark.usefixtures("folder")
def test_what_onnxruntime_cannot_run_is_neither_yes_nor_no(capsys):
    for name in ("a", "same"):
        model = onnx.load(f"{name}.onnx")
        model.graph.node.append(onnx.helper.make_node("Nobody", ["y"], ["z"], domain="no.such", of=name))
        model.graph.node.append(onnx.helper.make_node("Conv", ["z", "w"], ["v"]))
        model.opset_import.append(onnx.helper.make_opsetid("no.such", 1))
        model.graph.output[0].name = "v"
        onnx.save(model, f"{name}.odd.onnx")

    code, out, err = verified(capsys, "a.odd.onnx", "same.odd.onnx")
    assert code == 5
    assert "yes" not in out
    assert "Nobody" in out + err


def test_models_that_are_called_like_commands_are_reached(folder, capsys):
    for name in ("verify", "explain"):
        (folder / name).write_bytes((folder / "a.onnx").read_bytes())
        assert main([f"./{name}", "--dry-run"]) == 0
        assert f"{name}  onnx" in capsys.readouterr().out
        assert main(["--dry-run", name]) == 0
        assert f"{name}  onnx" in capsys.readouterr().out
        assert main(["--", name]) == 0
        capsys.readouterr()
    assert verified(capsys, "verify", "explain")[0] == 0


def test_programs_of_pytorch(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    from bnfold.frontends.torch_export.file import save_program
    from tests.torch_export.folding import export
    from tests.torch_modules import randomised

    torch.manual_seed(0)
    module = randomised(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)))
    save_program(export(module, torch.randn(2, 3, 5, 5)), tmp_path / "a.pt2")
    assert main([str(tmp_path / "a.pt2"), "-q"]) == 0
    code, out, _ = verified(capsys, str(tmp_path / "a.pt2"), str(tmp_path / "a.folded.pt2"))
    assert code == 0
    assert "Same results yes" in out
    onnx.save(convolution(), tmp_path / "b.onnx")
    code, _, err = verified(capsys, str(tmp_path / "a.pt2"), str(tmp_path / "b.onnx"))
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot compare" in err
