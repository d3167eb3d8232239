"""Files of torch.export.save: told by content, folded into the same kind of file, and never trusted."""

import json
import pickle
import subprocess
import sys
import zipfile

import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from bnfold.errors import ModelFormatError, UnsupportedModelError  # noqa: E402
from bnfold.frontends.torch_export.file import open_program, save_program  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import assert_same, export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

OPTIONS = bnfold.FoldOptions(verify=None)


@pytest.fixture(scope="module")
def program():
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    batch = torch.export.Dim("batch", min=1, max=8)
    return export(module, torch.randn(2, 3, 8, 8), dynamic_shapes=({0: batch},))


@pytest.fixture
def file(program, tmp_path):
    save_program(program, tmp_path / "model.pt2")
    return tmp_path / "model.pt2"


def test_a_file_is_folded_checked_and_written(file, program, capsys):
    assert main([str(file)]) == 0
    assert "1 -> 0 1 folded" in " ".join(capsys.readouterr().out.split())
    folded = open_program(file.with_name("model.folded.pt2"))
    assert set(folded.state_dict) == {"0.weight", "0.bias"}
    assert_same(program, folded, torch.randn(3, 3, 8, 8))
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.folded.pt2", "model.pt2"]


def test_a_fresh_process_gives_the_same_numbers(file, program):
    bnfold.fold_file(file, file.with_name("new.pt2"), OPTIONS)
    x = torch.randn(2, 3, 8, 8)
    torch.save(x, file.with_name("x.pt"))
    script = (
        "import sys, torch; x = torch.load(sys.argv[2], weights_only=True)\n"
        "torch.save(torch.export.load(sys.argv[1]).module()(x).detach(), sys.argv[2])"
    )
    arguments = [str(file.with_name(name)) for name in ("new.pt2", "x.pt")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
    y = torch.load(file.with_name("x.pt"), weights_only=True)
    assert_equal_results(program.module()(x).detach(), y)


def test_the_name_says_nothing_about_the_format(file):
    renamed = file.rename(file.with_name("model.onnx"))
    report = bnfold.fold_file(renamed, renamed.with_name("new.bin"), OPTIONS)
    assert report.format == "torch_export"


def test_the_same_bytes_whatever_the_name(file):
    for name in ("one.pt2", "another.pt2"):
        bnfold.fold_file(file, file.with_name(name), OPTIONS)
    assert file.with_name("one.pt2").read_bytes() == file.with_name("another.pt2").read_bytes()


def test_a_path_gives_a_program(file):
    assert isinstance(bnfold.fold(file, verify=None).model, torch.export.ExportedProgram)


def test_written_as_onnx(file):
    assert main([str(file), "--to", "onnx", "--samples", "1", "-q"]) == 0
    model = onnx.load(file.with_name("model.folded.onnx"))
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_without_torch_the_message_says_what_to_install(file):
    script = "import sys; sys.modules['torch'] = None\nfrom bnfold.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[torch]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "x.onnx"], "a program of torch.export would be written: call it x.pt2, or give --to onnx"),
        (["-o", "x.pt"], "x.pt is called like TorchScript, and a program of torch.export would be written"),
        (["-o", "x.pt2", "--to", "onnx"], "x.pt2 is called like a program of torch.export, and ONNX would be written"),
    ],
)
def test_names_that_promise_another_format(file, arguments, told, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert main([str(file), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_ending_that_misled_before_is_kept(file):
    renamed = file.rename(file.with_suffix(".pt"))
    assert main([str(renamed), "--samples", "1", "-q"]) == 0
    assert file.with_name("model.folded.pt").exists()


def test_a_pattern_without_a_match_is_named(file, capsys):
    assert main([str(file), "--exclude", "typo", "--exclude", "*", "--dry-run", "-q"]) == 0
    assert capsys.readouterr().err == f"bnfold: warning: --exclude 'typo' matches no node of {file}\n"


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_pickles_are_refused_and_not_executed(tmp_path, capsys):
    torch.save(Bomb(), tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("zip.pt", "bare.pt"):
        assert main([str(tmp_path / name)]) == 3
        message = capsys.readouterr().err
        assert "pickle" in message
        assert "nothing in it was executed" in message


def rewritten(file, change):
    """The same archive with some entries changed: change(name, data) gives the new data."""
    target = file.with_name("evil.pt2")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_a_pickle_in_the_sample_inputs(file):
    bomb = file.with_name("bomb.pt")
    torch.save(Bomb(), bomb)
    evil = rewritten(file, lambda name, data: bomb.read_bytes() if "sample_inputs" in name else data)
    with pytest.raises(UnsupportedModelError, match="could run code"):
        bnfold.fold(evil)


def test_weights_that_are_to_be_unpickled(file):
    def change(name, data):
        if name.endswith("weights_config.json"):
            config = json.loads(data)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return json.dumps(config)
        return pickle.dumps(Bomb(), protocol=0) if name.endswith("weight_0") else data

    with pytest.raises((UnsupportedModelError, ModelFormatError), match="could run code"):
        bnfold.fold(rewritten(file, change))


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("expr_str", "__import__('os').system('true')"),
        ("expr_str", "().__class__.__base__.__subclasses__()"),
        ("guards_code", "[print('executed') for _ in (1,)]"),
        ("name", "x = __import__('os')"),
    ],
)
def test_code_in_the_model_itself(file, key, code):
    def poison(tree):
        if isinstance(tree, dict):
            return {
                name: ([code] if isinstance(value, list) else code) if name == key else poison(value)
                for name, value in tree.items()
            }
        return [poison(element) for element in tree] if isinstance(tree, list) else tree

    def change(name, data):
        return json.dumps(poison(json.loads(data))) if name.endswith("model.json") else data

    with pytest.raises(UnsupportedModelError, match="nothing in it was executed"):
        bnfold.fold(rewritten(file, change))


def test_compiled_code(file):
    evil = rewritten(file, lambda _name, data: data)
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("archive/data/aotinductor/model/model.so", b"\x7fELF")
    with pytest.raises(UnsupportedModelError, match="compiled code"):
        bnfold.fold(evil)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFormatError, match="damaged"):
        bnfold.fold(file)


def test_fields_that_have_a_default_may_be_missing(file, program):
    """Found by fuzzing: a device without its index was an internal error, when the folded program was written."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace(b'"type": "cpu", "index": null', b'"type": "cpu"'))
    assert main([str(file), "--no-verify", "-q"]) == 0
    assert_same(program, open_program(file.with_name("model.folded.pt2")), torch.randn(3, 3, 8, 8))
