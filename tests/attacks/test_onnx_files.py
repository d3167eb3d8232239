"""What is given as a model and is no file with an end."""

import os
from pathlib import Path

import pytest

import bnfold
from bnfold.errors import ModelFormatError, UnsupportedModelError, VerificationError
from tests.attacks.onnx_models import conv_bn, fold, needs_pipes, refused


@needs_pipes
def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    for act in (lambda: fold(path), lambda: bnfold.fold(path)):
        with refused(tmp_path, "is a pipe, not a file", ModelFormatError):
            act()
    with refused(tmp_path, "is a pipe, not a file", VerificationError):
        bnfold.verify(path, conv_bn())


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no device of zeros")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/full"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_device_is_not_read(tmp_path, device, linked):
    path = Path(device)
    if linked:
        path = tmp_path / "model.onnx"
        path.symlink_to(device)
    with refused(tmp_path, "is a device, not a file", ModelFormatError):
        bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions(verify=None))
    with refused(tmp_path, "is a device, not a file", VerificationError):
        bnfold.verify(path, conv_bn())


def test_a_file_of_terabytes_without_content(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**42)
    try:
        with pytest.raises(UnsupportedModelError, match=r"4,398,046,511,104 bytes"):
            fold(path)
    finally:
        path.unlink()


def test_a_path_that_no_system_takes():
    with pytest.raises(ModelFormatError, match="cannot be read"):
        bnfold.fold("model\0.onnx")


def test_a_link_to_itself(tmp_path):
    path = tmp_path / "model.onnx"
    path.symlink_to(path)
    with refused(tmp_path, "cannot be read", ModelFormatError):
        fold(path)
