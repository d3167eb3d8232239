"""Weights in files beside the model: read from there, repacked into one new file, never written to."""

import itertools
import os
from dataclasses import replace
from pathlib import Path
from re import fullmatch

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import UsageError
from bnfold.verifier import VerifyOptions
from tests.api.folders import externalize, point_to, save, snapshot
from tests.folding import assert_equal_outputs, count
from tests.networks import Network

OPTIONS = bnfold.FoldOptions(verify=VerifyOptions(samples=1))
SHAPE = [2, 16, 6, 6]
NEW_DATA = r"model\.onnx\.[0-9a-f]{16}\.data"
UNREAD = "the new model does not read it; remove it if nothing else does"


def one_file_each(model):
    return {tensor.name: f"{tensor.name}.bin" for tensor in model.graph.initializer}


LAYOUTS = {
    "one file": lambda _model: "weights.bin",
    "one file each": one_file_each,
    "some inside": lambda _model: {"v": "weights.bin", "n.mean": "weights.bin"},
    "folded one outside": lambda _model: {"w": "weights.bin"},
    "two files": lambda _model: {"w": "first.bin", "v": "second.bin", "n.var": "second.bin"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_data_files(two_convs, folders, layout):
    given, out = folders
    source = save(externalize(two_convs, given, LAYOUTS[layout](two_convs)), given / "model.onnx")
    before = snapshot(given)
    report = bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    assert snapshot(given) == before
    assert set(snapshot(out)) == {"small.onnx", "small.onnx.data"}
    assert report.verification.passed
    assert report.bytes.before == sum(map(len, before.values()))
    assert report.bytes.after == sum(map(len, snapshot(out).values()))
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))


def test_the_new_data_file_holds_every_piece_once_and_apart(two_convs, folders):
    given, out = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    small = onnx.load(out / "small.onnx", load_external_data=False)
    places = [_place(tensor) for tensor in small.graph.initializer if tensor.external_data]
    assert {location for location, _, _ in places} == {"small.onnx.data"}
    assert all(offset % 4096 == 0 for _, offset, _ in places)
    ends = sorted((offset, offset + length) for _, offset, length in places)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    assert ends[-1][1] == (out / "small.onnx.data").stat().st_size


def _place(tensor) -> tuple[str, int, int]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return entries["location"], int(entries["offset"]), int(entries["length"])


def test_the_result_stands_on_its_own_after_the_input_is_gone(two_convs, folders):
    given, out = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    for path in given.iterdir():
        path.unlink()
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))


def test_folding_the_result_changes_no_byte(two_convs, folders):
    given, out = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    bnfold.fold_file(source, given / "small.onnx", OPTIONS)
    bnfold.fold_file(given / "small.onnx", out / "small.onnx", OPTIONS)
    assert {name: snapshot(given)[name] for name in snapshot(out)} == snapshot(out)


def test_two_tensors_that_share_their_storage(two_convs, folders):
    """Sharing is by storage, not by name: the weight of the first Conv changes, that of the second does not."""
    given, out = folders
    (w,), (v,) = ([tensor for tensor in two_convs.graph.initializer if tensor.name == name] for name in "wv")
    v.raw_data = w.raw_data
    moved = externalize(two_convs, given, {"w": "weights.bin"})
    (shared,) = (tensor for tensor in moved.graph.initializer if tensor.name == "v")
    point_to(shared, "weights.bin", 0, len(w.raw_data))
    report = bnfold.fold_file(save(moved, given / "model.onnx"), out / "small.onnx", OPTIONS)
    assert report.batch_norms.folded == 1
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))


def test_two_untouched_tensors_that_share_their_storage_still_do(two_convs, folders):
    given, out = folders
    for name in ("t1", "t2"):
        tensor = onnx.numpy_helper.from_array(np.arange(3000, dtype=np.float32), name)
        two_convs.graph.initializer.append(tensor)
    moved = externalize(two_convs, given, {"t1": "weights.bin"})
    point_to(moved.graph.initializer[-1], "weights.bin", 0, 12000)
    bnfold.fold_file(save(moved, given / "model.onnx"), out / "small.onnx", OPTIONS)
    small = onnx.load(out / "small.onnx", load_external_data=False)
    places = [_place(tensor) for tensor in small.graph.initializer if tensor.name in ("t1", "t2")]
    assert places[0] == places[1]
    loaded = {tensor.name: tensor for tensor in onnx.load(out / "small.onnx").graph.initializer}
    assert np.array_equal(onnx.numpy_helper.to_array(loaded["t2"]), np.arange(3000))


def test_two_folded_weights_of_one_size_do_not_share_their_storage(folders):
    given, out = folders
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w1", 16, 16, 3, 3)], "c1"), "n1", 16)
    network.node("Sigmoid", ["n1"], "s")
    network.batch_norm(network.node("Conv", ["s", network.weight("w2", 16, 16, 3, 3)], "c2"), "y", 16)
    model = network.model({"x": SHAPE}, ["y"])
    bnfold.fold_file(save(externalize(model, given), given / "model.onnx"), out / "small.onnx", OPTIONS)
    small = onnx.load(out / "small.onnx", load_external_data=False)
    assert len({_place(tensor) for tensor in small.graph.initializer if tensor.external_data}) == 2
    assert_equal_outputs(model, onnx.load(out / "small.onnx"))


def test_offset_and_length_may_be_absent(two_convs, folders):
    given, out = folders
    moved = externalize(two_convs, given, {"w": "w.bin"})
    (tensor,) = (tensor for tensor in moved.graph.initializer if tensor.name == "w")
    point_to(tensor, "w.bin")
    bnfold.fold_file(save(moved, given / "model.onnx"), out / "small.onnx", OPTIONS)
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))


def test_data_in_a_folder_below(two_convs, folders):
    given, out = folders
    (given / "data").mkdir()
    source = save(externalize(two_convs, given, "data/weights.bin"), given / "model.onnx")
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))


@pytest.mark.parametrize("call", ["fold_file", "fold"])
def test_a_cache_of_symbolic_links(two_convs, folders, call):
    """Model hubs keep the files elsewhere and link to them; onnxruntime reads the model where it truly lies."""
    given, out = folders
    store = given / "blobs"
    store.mkdir()
    moved = externalize(two_convs, store, "data_of_model")
    save(moved, store / "model.onnx")
    cache = given / "snapshot"
    cache.mkdir()
    for name in ("model.onnx", "data_of_model"):
        (cache / name).symlink_to(store / name)
    if call == "fold_file":
        bnfold.fold_file(cache / "model.onnx", out / "small.onnx", OPTIONS)
        assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))
    else:
        assert_equal_outputs(two_convs, bnfold.fold(cache / "model.onnx").model)


def test_a_link_whose_data_lies_beside_it_stays_as_it_is(two_convs, folders):
    """The file behind it would get its new data where it truly lies, and who opens the link looks beside the link."""
    given, out = folders
    moved = externalize(two_convs, given, "data_of_model")
    save(moved, out / "blob")
    (given / "model.onnx").symlink_to(out / "blob")
    before = snapshot(given), snapshot(out)
    with pytest.raises(UsageError, match="is a link, and its external data lies beside the link"):
        bnfold.fold_file(given / "model.onnx", out / "blob", OPTIONS, in_place=True)
    assert (snapshot(given), snapshot(out)) == before


def test_a_link_to_the_folder_is_no_such_link(two_convs, folders):
    given, out = folders
    save(externalize(two_convs, given), given / "model.onnx")
    (out / "models").symlink_to(given)
    source = out / "models" / "model.onnx"
    bnfold.fold_file(source, source, OPTIONS, in_place=True)
    assert_equal_outputs(two_convs, onnx.load(source))
    assert count(onnx.load(source), "BatchNormalization") == 0


def test_fold_of_a_path_brings_all_data_inside(two_convs, folders):
    given, _ = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    before = snapshot(given)
    result = bnfold.fold(source)
    assert snapshot(given) == before
    assert not any(tensor.external_data for tensor in result.model.graph.initializer)
    assert_equal_outputs(two_convs, result.model)


@pytest.mark.parametrize("data_name", ["weights.bin", "model.onnx.data"])
def test_in_place(two_convs, folders, data_name):
    """The old data is not written to, since until the model is replaced, the old model needs it. Then its own goes."""
    given, _ = folders
    source = save(externalize(two_convs, given, data_name), given / "model.onnx")
    before = snapshot(given)
    report = bnfold.fold_file(source, source, OPTIONS, in_place=True)
    after = snapshot(given)
    assert report.verification.passed
    (data,) = after.keys() - {"model.onnx", "weights.bin"}
    assert data == "model.onnx.data" if data_name == "weights.bin" else fullmatch(NEW_DATA, data)
    assert after.get("weights.bin") == before.get("weights.bin")
    assert_equal_outputs(two_convs, onnx.load(source))
    assert count(onnx.load(source), "BatchNormalization") == 0
    told = [f"weights.bin held data of the model that was replaced, and stays: {UNREAD}"]
    assert report.warnings == tuple(told if data_name == "weights.bin" else [])


def test_over_an_older_result(two_convs, folders):
    """Twice the same result is the same bytes, also where another one was there in between."""
    given, out = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    first = snapshot(out)
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    assert snapshot(out) == first
    bnfold.fold_file(source, out / "small.onnx", replace(OPTIONS, affine=False, exclude=("*",)))
    other = snapshot(out)
    (data,) = other.keys() - {"small.onnx"}
    assert fullmatch(r"small\.onnx\.[0-9a-f]{16}\.data", data)
    assert_equal_outputs(two_convs, onnx.load(out / "small.onnx"))
    bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    assert snapshot(out) == first


def test_a_rename_that_fails_leaves_the_old_model_over_its_own_data(two_convs, folders, monkeypatch):
    given, _ = folders
    source = save(externalize(two_convs, given, "model.onnx.data"), given / "model.onnx")
    before = snapshot(given)
    rename = os.replace

    def refuse(path, target):
        if Path(target) == source:
            raise PermissionError(1, "Operation not permitted")
        rename(path, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UsageError, match=r"model.onnx cannot be written: Operation not permitted"):
        bnfold.fold_file(source, source, OPTIONS, in_place=True)
    assert snapshot(given) == before


def test_a_stream_has_no_place_for_data(two_convs, folders):
    given, _ = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    with pytest.raises(UsageError, match=r"/dev/null takes one file, and the external data .* needs one beside it"):
        bnfold.fold_file(source, Path("/dev/null"), OPTIONS)


def test_data_goes_beside_the_file_behind_a_link(two_convs, folders):
    given, out = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    (given / "link.onnx").symlink_to(out / "real.onnx")
    bnfold.fold_file(source, given / "link.onnx", OPTIONS)
    assert (given / "link.onnx").is_symlink()
    assert snapshot(out).keys() == {"real.onnx", "real.onnx.data"}
    assert_equal_outputs(two_convs, onnx.load(out / "real.onnx"))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_target_whose_data_file_is_the_sources(two_convs, folders, in_place):
    """The target is another file than the source, so that --in-place gives no leave to write over `small.onnx.data`."""
    given, _ = folders
    source = save(externalize(two_convs, given, "small.onnx.data"), given / "model.onnx")
    before = snapshot(given)
    with pytest.raises(UsageError, match="would be overwritten"):
        bnfold.fold_file(source, given / "small.onnx", OPTIONS, in_place=in_place)
    assert snapshot(given) == before


def test_a_target_that_is_the_sources_data_file(two_convs, folders):
    given, _ = folders
    source = save(externalize(two_convs, given, "weights.onnx"), given / "model.onnx")
    before = snapshot(given)
    with pytest.raises(UsageError, match="would be overwritten"):
        bnfold.fold_file(source, given / "weights.onnx", OPTIONS)
    assert snapshot(given) == before


def test_an_onnx_ir_model_that_leaves_its_data_in_the_file(two_convs, folders):
    """onnx_ir.load maps data files and keeps the tensors external: its pipelines run on such models."""
    onnx_ir = pytest.importorskip("onnx_ir")
    given, _ = folders
    source = save(externalize(two_convs, given), given / "model.onnx")
    before = snapshot(given)
    result = bnfold.fold(onnx_ir.load(source))
    assert result.report.batch_norms.kept == 0
    assert_equal_outputs(two_convs, onnx_ir.to_proto(result.model))
    assert snapshot(given) == before
