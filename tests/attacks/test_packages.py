"""Operators and classes of other packages: of those that the user names, and of no others."""

import importlib

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from bnfold.errors import UnsupportedModelError, UsageError  # noqa: E402
from bnfold.frontends.torch_archive.saved import read_safely  # noqa: E402
from bnfold.frontends.torch_export.file import save_program  # noqa: E402
from bnfold.frontends.torchscript.file import save_script  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402

PACKAGE = "tests.attacks.scaling"


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.ops.bnfold_test_scaling.halve(self.norm(self.conv(x)))


importlib.import_module(PACKAGE)


@pytest.fixture(params=["pt", "pt2"])
def file(request, tmp_path):
    path = tmp_path / f"model.{request.param}"
    module = Halves().eval()
    if request.param == "pt":
        save_script(compiled(module, "traced", torch.ones(1, 3, 6, 6)), path)
    else:
        save_program(export(module, torch.ones(1, 3, 6, 6)), path)
    return path


def test_an_operator_of_nobody_is_refused_by_name(file, capsys):
    assert main([str(file), "--no-verify"]) == 3
    said = capsys.readouterr().err
    assert "bnfold_test_scaling::halve" in said
    assert "--import" in said


def test_an_operator_of_a_package_that_the_user_names(file):
    shape = ["--shape", "x=1,3,6,6"] if file.suffix == ".pt" else []
    assert main([str(file), "--import", PACKAGE, *shape, "-q"]) == 0


def test_a_package_does_not_speak_for_the_others(file):
    with pytest.raises(UnsupportedModelError, match="bnfold_test_scaling::halve"):
        bnfold.fold(file, verify=None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bnfold_no_such_package", "cannot be imported: No module named"),
        ("x; import os", "must be names of packages"),
        ("", "must be names of packages"),
    ],
)
def test_what_is_no_package(file, name, said, capsys):
    assert main([str(file), "--import", name]) == 2
    assert said in capsys.readouterr().err


def test_a_text_is_no_sequence_of_packages():
    with pytest.raises(UsageError, match="sequence of strings"):
        bnfold.FoldOptions(imports="torchvision")


def test_a_class_of_a_named_package_may_be_in_a_pickle():
    with pytest.raises(UnsupportedModelError, match="could run code"):
        read_safely("x", b"\x80\x02ctests.attacks.scaling\nNote\n)\x81.", ())
    assert read_safely("x", b"\x80\x02ctests.attacks.scaling\nNote\n)\x81.", (PACKAGE,)).function.name == "Note"


@pytest.mark.parametrize("name", ["open_a_file", "torch", "halve", "LIBRARY", "Note.mro"])
def test_what_a_named_package_only_uses_may_not(name):
    with pytest.raises(UnsupportedModelError, match="could run code"):
        read_safely("x", b"\x80\x02ctests.attacks.scaling\n" + name.encode() + b"\n)R.", (PACKAGE,))
