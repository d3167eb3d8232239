"""What a file holds beside its program comes out again: extra files, and bytecode for phones."""

import warnings
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402
from torch.jit.mobile import _load_for_lite_interpreter  # noqa: E402

from bnfold.api import FoldOptions, fold_file  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 6)
EXTRA = {"labels.txt": b"cat\ndog\n", "deep/model.bin": bytes(range(256))}


def network():
    torch.manual_seed(0)
    return randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))


def fold(path):
    target = path.with_name(f"folded{path.suffix}")
    shapes = {"input": (2, 3, 6, 6)}
    report = fold_file(path, target, FoldOptions(verify=VerifyOptions(samples=1, shapes=shapes)))
    assert report.batch_norms.folded == 1
    return target


def test_extra_files_of_torchscript(tmp_path):
    path = tmp_path / "model.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(network(), "scripted"), path, _extra_files=EXTRA)
        found = dict.fromkeys(EXTRA, "")
        torch.jit.load(fold(path), _extra_files=found)
    assert found == EXTRA


def test_extra_files_of_torch_export(tmp_path):
    path = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(network(), IMAGE), path, extra_files={"labels.txt": "cat\ndog\n"})
        found = {"labels.txt": ""}
        torch.export.load(fold(path), extra_files=found)
    assert found == {"labels.txt": "cat\ndog\n"}


def with_parts(path, parts):
    """The same archive with more entries in its folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(entries)).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, **{f"{folder}/{name}": content for name, content in parts.items()}}.items():
            archive.writestr(name, content)


def parts_in(path):
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_what_a_trace_was_made_with_is_carried_over(tmp_path):
    path = tmp_path / "model.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(network(), "traced", IMAGE), path)
    before, after = parts_in(path), parts_in(fold(path))
    traced = {name: content for name, content in before.items() if name.startswith("traced_inputs")}
    assert traced
    assert {name: after.get(name) for name in traced} == traced


def test_inputs_of_a_trace_that_are_not_as_torch_writes_them_are_named(tmp_path):
    path = tmp_path / "model.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(network(), "scripted"), path)
    with_parts(path, {"traced_inputs.pkl": b"cos\nsystem\n(S'true'\ntR."})
    report = fold_file(path, tmp_path / "folded.pt", FoldOptions(verify=None))
    assert "not carried over from the file: 'traced_inputs.pkl'" in report.warnings
    assert "traced_inputs.pkl" not in parts_in(tmp_path / "folded.pt")


def test_parts_that_nothing_refers_to_are_named(tmp_path):
    path = tmp_path / "model.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(network(), "scripted"), path)
    with_parts(path, {"attributes.pkl": b"x", "data/99": b"0000"})
    report = fold_file(path, tmp_path / "folded.pt", FoldOptions(verify=None))
    assert "not carried over from the file: 'attributes.pkl', 'data/99'" in report.warnings


def test_weights_that_a_program_does_not_refer_to_are_named(tmp_path):
    path = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(network(), IMAGE), path)
    with_parts(path, {f"data/weights/weight_{number}": b"0000" for number in range(90, 95)})
    report = fold_file(path, tmp_path / "folded.pt2", FoldOptions(verify=None))
    (named,) = report.warnings
    assert named.startswith("not carried over from the file: 'data/weights/weight_90', ")
    assert named.endswith(" and 2 more")


def test_nothing_is_named_where_all_is_carried_over(tmp_path):
    path = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(network(), IMAGE), path, extra_files={"labels.txt": "cat"})
    assert fold_file(path, tmp_path / "folded.pt2", FoldOptions(verify=None)).warnings == ()


def test_bytecode_that_says_where_it_came_from_still_does(tmp_path):
    path = tmp_path / "model.ptl"
    compiled(network(), "scripted")._c._save_for_mobile(str(path), {}, True)
    explained = {"mobile_debug_handles.pkl", "callstack_debug_map.pkl"}
    assert explained <= set(parts_in(path))
    assert explained <= set(parts_in(fold(path)))


def test_a_file_for_phones_stays_one(tmp_path):
    path = tmp_path / "model.ptl"
    module = compiled(network(), "scripted")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lite Interpreter is deprecated")
        module._save_for_lite_interpreter(str(path))
    folded = fold(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lite Interpreter is deprecated")
        new = _load_for_lite_interpreter(str(folded))
    with torch.no_grad():
        assert_equal_results(module(IMAGE), new(IMAGE))
