"""External data that leads out of the model's folder, or to what is no file: never read, wherever the tensor stands."""

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import bnfold
from bnfold.errors import ModelFormatError, VerificationError
from tests.attacks.onnx_models import (
    PLACES,
    SECRET,
    conv_bn,
    external,
    fold,
    in_body,
    in_initializer,
    needs_pipes,
    refused,
    write,
)

HONEST = np.linspace(-1, 1, SECRET.size, dtype=np.float32).tobytes()


@pytest.fixture
def folder(tmp_path):
    """The folder of a model, beside a secret that is no part of it."""
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def a_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to("../secret.bin")
    return "w.bin"


def an_absolute_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to(folder.parent / "secret.bin")
    return "w.bin"


def a_linked_folder(folder: Path) -> str:
    (folder / "sub").symlink_to("..")
    return "sub/secret.bin"


def a_chain_of_links(folder: Path) -> str:
    (folder / "w.bin").symlink_to("x.bin")
    (folder / "x.bin").symlink_to("sub/y.bin")
    (folder / "sub").mkdir()
    (folder / "sub" / "y.bin").symlink_to("../../secret.bin")
    return "w.bin"


def a_link_through_itself(folder: Path) -> str:
    (folder / "w.bin").symlink_to(f"../{folder.name}/../secret.bin")
    return "w.bin"


def a_folder_whose_name_begins_alike(folder: Path) -> str:
    twin = folder.with_name(f"{folder.name}-twin")
    twin.mkdir()
    (twin / "w.bin").write_bytes(SECRET.tobytes())
    (folder / "w.bin").symlink_to(twin / "w.bin")
    return "w.bin"


def a_hard_link(folder: Path) -> str:
    os.link(folder.parent / "secret.bin", folder / "w.bin")
    return "w.bin"


def a_link_to_a_hard_link(folder: Path) -> str:
    os.link(folder.parent / "secret.bin", folder / "x.bin")
    (folder / "w.bin").symlink_to("x.bin")
    return "w.bin"


def above(_folder: Path) -> str:
    return "../secret.bin"


def absolute(folder: Path) -> str:
    return str(folder.parent / "secret.bin")


WAYS_OUT = [
    a_link,
    an_absolute_link,
    a_linked_folder,
    a_chain_of_links,
    a_link_through_itself,
    a_folder_whose_name_begins_alike,
    a_hard_link,
    a_link_to_a_hard_link,
    above,
    absolute,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_way_leads_out_of_the_folder(folder, way, place):
    model = conv_bn()
    place(model, external("stolen", way(folder)))
    path = write(model, folder / "model.onnx")
    with refused(folder, "model's folder: refused", ModelFormatError):
        fold(path)
    with refused(folder, "model's folder: refused", ModelFormatError):
        bnfold.fold(path)


@pytest.mark.parametrize("place", [in_initializer, in_body])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_the_check_reads_no_such_file_either(folder, way, place):
    model = conv_bn()
    place(model, external("stolen", way(folder)))
    path = write(model, folder / "model.onnx")
    with refused(folder, "model's folder: refused", VerificationError):
        bnfold.verify(path, conv_bn())
    assert "model's folder: refused" in bnfold.verify(conv_bn(), path).problem


def test_the_check_of_bytes_reads_no_file_of_the_folder_that_one_works_in(folder, monkeypatch):
    (folder / "w.bin").write_bytes(SECRET.tobytes())
    monkeypatch.chdir(folder)
    model = conv_bn()
    in_initializer(model, external("w", "w.bin"))
    with refused(folder, "given without its path", VerificationError):
        bnfold.verify(model, conv_bn())


def a_pipe(folder: Path) -> str:
    os.mkfifo(folder / "w.bin")
    return "w.bin"


def a_folder(folder: Path) -> str:
    (folder / "w.bin").mkdir()
    return "w.bin"


def nothing(_folder: Path) -> str:
    return "w.bin"


def a_link_to_nothing(folder: Path) -> str:
    (folder / "w.bin").symlink_to("x.bin")
    return "w.bin"


def links_in_a_circle(folder: Path) -> str:
    (folder / "w.bin").symlink_to("x.bin")
    (folder / "x.bin").symlink_to("w.bin")
    return "w.bin"


def a_name_that_is_too_long(_folder: Path) -> str:
    return "w" * 5000


def a_file_as_a_folder(folder: Path) -> str:
    (folder / "w.bin").touch()
    return "w.bin/w.bin"


@pytest.mark.parametrize(
    ("way", "words"),
    [
        pytest.param(a_pipe, "which is a pipe, not a file", marks=needs_pipes),
        (a_folder, "which is a folder, not a file"),
        (nothing, "No such file"),
        (a_link_to_nothing, "No such file"),
        (links_in_a_circle, "cannot be read"),
        (a_name_that_is_too_long, "cannot be read"),
        (a_file_as_a_folder, "cannot be read"),
        (lambda _: "", "names no file"),
        (lambda _: ".", "which is a folder"),
        (lambda _: "w\0.bin", "names no file"),
        (lambda _: "\0", "names no file"),
        (lambda _: "\x1b[2J\n", "No such file"),
    ],
)
@pytest.mark.parametrize("place", [in_initializer, in_body])
def test_what_is_no_file(folder, way, words, place):
    model = conv_bn()
    place(model, external("w", way(folder)))
    path = write(model, folder / "model.onnx")
    with refused(folder, words, ModelFormatError):
        fold(path)
    assert words in bnfold.verify(conv_bn(), path).problem


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no device of zeros")
def test_a_device_is_not_read(folder):
    (folder / "zeros").symlink_to("/dev/zero")
    model = conv_bn()
    in_initializer(model, external("w", "zeros"))
    path = write(model, folder / "model.onnx")
    with refused(folder, "refused", ModelFormatError):
        fold(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("offset", "1"),
        ("offset", "-1"),
        ("offset", str(2**63)),
        ("offset", "9" * 5000),
        ("offset", "0x10"),
        ("offset", "1_0"),
        ("offset", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("offset", ""),
        ("length", "-1"),
        ("length", "0"),
        ("length", "143"),
        ("length", "145"),
        ("length", str(2**62)),
        ("length", str(2**64)),
        ("length", "nan"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_lengths_beside_the_file(folder, key, value, place):
    (folder / "w.bin").write_bytes(SECRET.tobytes())
    tensor = external("w", "w.bin")
    next(entry for entry in tensor.external_data if entry.key == key).value = value
    model = conv_bn()
    place(model, tensor)
    path = write(model, folder / "model.onnx")
    with refused(folder, "'(w|s)'", ModelFormatError):
        fold(path)


@pytest.mark.parametrize("dims", [[2**62], [2**40, 4], [4, -1, 3, 3], [2**32, 2**32]])
@pytest.mark.parametrize("place", PLACES)
def test_shapes_beside_the_file(folder, dims, place):
    (folder / "w.bin").write_bytes(SECRET.tobytes())
    tensor = external("w", "w.bin")
    tensor.dims[:] = dims
    model = conv_bn()
    place(model, tensor)
    path = write(model, folder / "model.onnx")
    with refused(folder, "'(w|s)'", ModelFormatError):
        fold(path)


def plainly(folder: Path) -> str:
    (folder / "w.bin").write_bytes(HONEST)
    return "w.bin"


def in_a_folder_below(folder: Path) -> str:
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "w.bin").write_bytes(HONEST)
    return "sub/./deep/w.bin"


def by_a_link_inside(folder: Path) -> str:
    in_a_folder_below(folder)
    (folder / "w.bin").symlink_to("sub/deep/w.bin")
    return "w.bin"


def by_a_linked_folder_inside(folder: Path) -> str:
    in_a_folder_below(folder)
    (folder / "here").symlink_to("sub")
    return "here/deep/w.bin"


@pytest.mark.parametrize("way", [plainly, in_a_folder_below, by_a_link_inside, by_a_linked_folder_inside])
def test_data_inside_the_folder_is_read(folder, way):
    model = conv_bn()
    in_initializer(model, external("w", way(folder)))
    path = write(model, folder / "model.onnx")
    report = bnfold.fold_file(path, folder / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 0
    assert report.verification.passed


@pytest.mark.parametrize("beside", ["../../blobs/two", "w.bin"])
def test_caches_of_model_hubs(tmp_path, beside):
    """snapshots/REVISION/onnx/model.onnx and its data are links to files without a suffix in blobs/."""
    blobs, onnx_folder = tmp_path / "blobs", tmp_path / "snapshots" / "onnx"
    onnx_folder.mkdir(parents=True)
    model = conv_bn()
    in_initializer(model, external("w", "w.bin"))
    write(model, blobs / "one")
    (onnx_folder / "model.onnx").symlink_to("../../blobs/one")
    if beside == "w.bin":
        (onnx_folder / "w.bin").write_bytes(HONEST)
    else:
        (blobs / "two").write_bytes(HONEST)
        (onnx_folder / "w.bin").symlink_to(beside)
    report = bnfold.fold_file(onnx_folder / "model.onnx", tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 0
    assert report.verification.passed


def test_a_hub_cache_leads_no_further_than_its_blobs(tmp_path):
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    model = conv_bn()
    in_initializer(model, external("w", "w.bin"))
    write(model, tmp_path / "blobs" / "one")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.onnx").symlink_to("../blobs/one")
    (tmp_path / "snapshot" / "w.bin").symlink_to("../secret.bin")
    with refused(tmp_path, "model's folder: refused", ModelFormatError):
        fold(tmp_path / "snapshot" / "model.onnx")


def test_the_model_itself_may_have_several_names(tmp_path):
    network = conv_bn()
    big = np.zeros((4, 20_000), np.float32)  # so large that the check leaves it in the file
    network.graph.initializer.append(numpy_helper.from_array(big, "big"))
    path = write(network, tmp_path / "model.onnx")
    os.link(path, tmp_path / "other.onnx")
    report = bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.verification.passed
