import json
import os
import stat

import pytest

from bnfold.errors import UsageError
from bnfold.report.html import render_html
from bnfold.report.json import to_dict
from bnfold.report.model import Failure
from bnfold.report.save import save_report
from tests.pipes import read_pipe
from tests.reports import fold, report


def test_the_ending_chooses_the_format(tmp_path):
    save_report(tmp_path / "r.json", [report()])
    save_report(tmp_path / "r.HTML", [report()])

    assert json.loads((tmp_path / "r.json").read_text())["models"] == [to_dict(report())]
    assert (tmp_path / "r.HTML").read_text(encoding="utf-8") == render_html([report()])


def test_several_models_go_into_one_file(tmp_path):
    failures = [Failure("bad.onnx", 3, "is empty")]

    save_report(tmp_path / "r.json", [report()], failures)
    save_report(tmp_path / "r.html", [report()], failures)

    assert json.loads((tmp_path / "r.json").read_text())["failures"][0]["input"] == "bad.onnx"
    assert "bad.onnx" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_file_that_is_there_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")

    save_report(path, [report()])

    assert json.loads(path.read_text())["schema_version"] == 2
    assert os.listdir(tmp_path) == ["r.json"]


def test_the_report_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "other").touch()

    save_report(tmp_path / "r.json", [report()])

    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_failure_to_replace_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match=r"r.json cannot be written: Permission denied"):
        save_report(path, [report()])

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_name_that_is_no_unicode_can_be_saved(tmp_path):
    save_report(tmp_path / "r.html", [report(folds=[fold("bad\udcff")], input="m\udcff.onnx")])

    assert r"m\udcff.onnx" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_report_that_is_replaced_keeps_its_mode(tmp_path):
    path = tmp_path / "r.json"
    path.touch(0o600)
    path.chmod(0o640)

    save_report(path, [report()])

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link.json").symlink_to("real.txt")

    save_report(tmp_path / "link.json", [report()])

    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.txt").read_text())["schema_version"] == 2


@pytest.mark.parametrize("name", [os.devnull, "link.json"])
def test_a_device_stays_one(tmp_path, name):
    (tmp_path / "link.json").symlink_to(os.devnull)

    save_report(tmp_path / name, [report()])

    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize(("name", "start"), [("pipe", b"{"), ("pipe.html", b"<!DOCTYPE html>")])
def test_a_pipe_is_written_through(tmp_path, name, start):
    with read_pipe(tmp_path / name) as read:
        save_report(tmp_path / name, [report()])

    assert read[0].startswith(start)
    assert stat.S_ISFIFO((tmp_path / name).stat().st_mode)
