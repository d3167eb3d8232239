"""What fold gives back: shown in a line, as a page, written, and in the words of every report."""

import html
import json
import pickle
from dataclasses import replace

import onnx
import pytest

import bnfold
from bnfold.cli.main import main
from tests.api.folders import save, snapshot
from tests.folding import assert_equal_outputs


def test_it_shows_in_one_line(model, tmp_path):
    result = bnfold.fold(save(model, tmp_path / "m.onnx"))
    assert repr(result) == "<FoldResult: 1 of 2 BatchNorms folded, check passed; a ModelProto>"
    assert repr(result.report) == f"<Report on {tmp_path / 'm.onnx'}: 1 of 2 BatchNorms folded, check passed>"
    assert "check skipped" in repr(bnfold.fold(model, verify=False))


def test_a_plan_says_that_nothing_was_folded(model):
    assert repr(bnfold.explain(model)) == "<Report on <memory>: 1 of 2 BatchNorms would be folded, a plan>"


def test_what_is_inside_of_a_report_shows_without_its_numbers(model):
    outcome = bnfold.fold(model).report.outcome
    assert repr(outcome) == "<Outcome: folds 1, kept 1>"
    assert repr(replace(outcome, folds=(), kept=())) == "<Outcome: nothing>"
    assert "channels=(" not in repr(outcome.folds[0])


def test_results_are_pickled(model):
    result = bnfold.fold(model)
    assert pickle.loads(pickle.dumps(result.report)) == result.report
    with pytest.raises(bnfold.VerificationError) as caught:
        raise bnfold.VerificationError("differs", result.report)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.report) == ("differs", result.report)


def test_a_verdict_on_equal_files_counts_no_samples(model):
    assert repr(bnfold.verify(model, model)) == "<Verification: passed: nothing differs>"


def test_a_verdict_shows_in_one_line_with_what_is_wrong(model):
    folded = bnfold.fold(model).model
    assert repr(bnfold.verify(model, folded)) == "<Verification: passed on 6 samples>"
    folded.graph.initializer[0].raw_data = bytes(len(folded.graph.initializer[0].raw_data))
    shown = repr(bnfold.verify(model, folded))
    assert shown.startswith("<Verification: failed on 6 samples: ")
    assert "\n" not in shown


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(model):
    result = bnfold.fold(model)
    shown = result._repr_html_()
    assert shown == result.report._repr_html_()
    assert shown.startswith("<iframe ")
    (page,) = [part.partition('"')[0] for part in shown.split('srcdoc="')[1:]]
    assert html.unescape(page) == result.report.to_html()


def test_reports_are_those_of_the_command(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(model, tmp_path / "m.onnx")
    assert main(["m.onnx", "--dry-run", "-q", "--report", "r.json"]) == 0
    command, python = json.loads((tmp_path / "r.json").read_text()), json.loads(bnfold.explain("m.onnx").to_json())
    for document in (command, python):
        for entry in document["models"]:
            del entry["seconds"]
            entry.pop("environment", None)  # of which the digests are asked for by the command alone
    assert command == python
    assert "2 -> 1  would fold 1, leave 1" in bnfold.explain("m.onnx").to_text(width=200)


def test_a_saved_model_is_the_file_that_the_command_writes(model, tmp_path):
    save(model, tmp_path / "m.onnx")
    bnfold.fold_file(str(tmp_path / "m.onnx"), str(tmp_path / "a.onnx"))
    bnfold.fold(tmp_path / "m.onnx").save(str(tmp_path / "b.onnx"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_an_onnx_ir_model_is_saved(model, tmp_path):
    onnx_ir = pytest.importorskip("onnx_ir")
    bnfold.fold(onnx_ir.from_proto(model)).save(tmp_path / "b.onnx")
    assert_equal_outputs(model, onnx.load(tmp_path / "b.onnx"))


def test_a_model_too_large_for_a_message_is_saved_with_its_data_beside_it(model, tmp_path, monkeypatch):
    result = bnfold.fold(model)
    before = result.model.SerializeToString()
    monkeypatch.setattr("bnfold.intake.message.LARGEST_MESSAGE", 100)
    monkeypatch.setattr("bnfold.frontends.onnx.file._LARGEST_EMBEDDED", 0)
    result.save(tmp_path / "b.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"b.onnx", "b.onnx.data"}
    assert result.model.SerializeToString() == before
    assert_equal_outputs(result.model, onnx.load(tmp_path / "b.onnx"))


def test_programs_are_saved(tmp_path):
    torch = pytest.importorskip("torch")
    from tests.torchscript.folding import compiled

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    x = torch.ones(1, 3, 5, 5)
    exported = bnfold.fold(torch.export.export(network, (x,)))
    exported.save(tmp_path / "a.pt2")
    torch.testing.assert_close(torch.export.load(tmp_path / "a.pt2").module()(x), network(x))
    with pytest.raises(bnfold.UsageError, match=r"call it a\.pt2"):
        exported.save(tmp_path / "a.onnx")
    bnfold.fold(compiled(network, "scripted"), shapes={"input": (1, 3, 5, 5)}).save(tmp_path / "a.pt")
    assert bnfold.verify(tmp_path / "a.pt", compiled(network, "scripted"), shapes={"input": (1, 3, 5, 5)}).passed


def test_nothing_is_written_over_the_model_unless_somebody_says_so(model, tmp_path):
    source = save(model, tmp_path / "m.onnx")
    before = snapshot(tmp_path)
    result = bnfold.fold(source)
    with pytest.raises(bnfold.UsageError, match="is an input and would be overwritten"):
        result.save(source)
    assert snapshot(tmp_path) == before
    result.save(source, in_place=True)
    assert onnx.load(source) == result.model
    bnfold.fold(model).save(tmp_path / "other.onnx", in_place=True)


def test_what_cannot_be_written_is_told(model, tmp_path):
    with pytest.raises(bnfold.UsageError, match="cannot be written"):
        bnfold.fold(model).save(tmp_path / "gone" / "m.onnx")
    assert list(tmp_path.iterdir()) == []
