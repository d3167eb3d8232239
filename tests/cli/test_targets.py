import os
from pathlib import Path

import pytest

from bnfold.cli.earlier_results import without_own_results
from bnfold.cli.targets import Job, check_reports, existing, plan_jobs
from bnfold.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        Path(name).write_text(name)
    return tmp_path


def targets(models, output=None, *, in_place=False):
    return [str(job.target) for job in plan_jobs([Path(model) for model in models], output, in_place=in_place)]


def refuses(message, models, output=None, *, in_place=False):
    with pytest.raises(UsageError, match=message):
        targets(models, output, in_place=in_place)


def test_default_is_beside_each_model(folder):
    (folder / "sub").mkdir()

    models = ["a.onnx", "sub/c.v2.onnx", "d"]

    assert targets(models) == ["a.folded.onnx", os.path.join("sub", "c.v2.folded.onnx"), "d.folded"]


def test_output_is_a_file_for_one_model():
    assert targets(["a.onnx"], "new.onnx") == ["new.onnx"]


def test_output_is_a_folder_where_it_is_one_or_ends_like_one(folder):
    (folder / "out").mkdir()

    assert targets(["a.onnx"], "out") == [os.path.join("out", "a.folded.onnx")]
    assert targets(["a.onnx"], "new/") == [os.path.join("new", "a.folded.onnx")]


def test_output_is_a_folder_for_several_models():
    expected = [os.path.join("new", "a.folded.onnx"), os.path.join("new", "b.folded.onnx")]

    assert targets(["a.onnx", "b.onnx"], "new") == expected


def test_several_models_do_not_fit_into_a_file(folder):
    (folder / "out").touch()

    refuses("got a file, expected a folder for 2 models", ["a.onnx", "b.onnx"], "out")


@pytest.mark.parametrize("models", [["a.onnx"], ["a.onnx", "b.onnx"]])
def test_the_folder_around_the_output_must_be_there(models):
    refuses("there is no folder nowhere", models, "nowhere/out")


def test_a_missing_model_is_left_to_whoever_reads_it():
    assert targets(["nowhere/c.onnx"]) == [os.path.join("nowhere", "c.folded.onnx")]


@pytest.mark.parametrize("way", ["path", "symlink", "hardlink", "dotted", "folder symlink"])
def test_output_may_not_be_the_model_by_any_path(folder, way):
    output = {"path": "a.onnx", "dotted": f"../{folder.name}/./a.onnx", "folder symlink": "here/a.onnx"}.get(way, "x")
    if way == "symlink":
        Path("x").symlink_to("a.onnx")
    elif way == "hardlink":
        os.link("a.onnx", "x")
    elif way == "folder symlink":
        Path("here").symlink_to(".")

    refuses("is the model itself: choose another output, or give --in-place", ["a.onnx"], output)


def test_in_place_allows_it(folder):
    (job,) = plan_jobs([Path("a.onnx")], "a.onnx", in_place=True)

    assert job == Job(Path("a.onnx"), folder.resolve() / "a.onnx", in_place=True)


def test_in_place_without_output_is_the_model():
    jobs = plan_jobs([Path("a.onnx"), Path("b.onnx")], None, in_place=True)

    assert [job.target.name for job in jobs] == ["a.onnx", "b.onnx"]
    assert all(job.in_place for job in jobs)


def test_in_place_replaces_the_file_behind_a_link(folder):
    Path("link.onnx").symlink_to("a.onnx")

    (job,) = plan_jobs([Path("link.onnx")], None, in_place=True)

    assert job.target == folder.resolve() / "a.onnx"


def test_in_place_does_not_reach_other_files():
    (job,) = plan_jobs([Path("a.onnx")], "new.onnx", in_place=True)

    assert not job.in_place


@pytest.mark.parametrize("in_place", [False, True])
def test_a_result_may_not_replace_another_model_of_the_call(folder, in_place):
    (folder / "a.folded.onnx").touch()

    refuses("is a model of this call", ["a.onnx", "a.folded.onnx"], None, in_place=False)
    refuses("is a model of this call", ["a.onnx", "a.folded.onnx"], ".", in_place=in_place)


def test_two_models_may_not_share_a_file(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.onnx").touch()

    refuses("would both be written to", ["a.onnx", "sub/a.onnx"], "out")
    os.link("a.onnx", "same.onnx")
    refuses("would both be written to", ["a.onnx", "same.onnx"], in_place=True)


def test_a_dangling_link_is_followed():
    Path("a.folded.onnx").symlink_to("x")
    Path("b.folded.onnx").symlink_to("x")

    refuses("would both be written to", ["a.onnx", "b.onnx"])


def test_reports_may_replace_nothing_of_the_call():
    os.link("a.onnx", "linked.json")
    Path("other.html").symlink_to("r.json")
    jobs = [Job(Path("a.onnx"), Path("out.json")), Job(Path("b.onnx"), None)]

    check_reports([Path("r.json"), Path("r.html")], jobs)
    for reports, message in (
        (["linked.json"], "a model of this call"),
        (["out.json"], "the output"),
        (["r.json", "r.json"], "another report"),
        (["r.json", "other.html"], "another report"),
        (["nowhere/r.json"], "there is no folder nowhere"),
    ):
        with pytest.raises(UsageError, match=message):
            check_reports([Path(report) for report in reports], jobs)


def test_a_report_is_no_folder(folder):
    (folder / "r.json").mkdir()

    with pytest.raises(UsageError, match="got a folder, expected a file"):
        check_reports([Path("r.json")], [])


def test_a_folder_made_for_nothing_goes_again():
    with existing(Path("out")):
        assert Path("out").is_dir()

    assert not Path("out").exists()


def test_a_folder_with_results_stays_even_after_an_error():
    def write_and_fail():
        with existing(Path("out")):
            Path("out/a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()

    assert Path("out/a").exists()


def test_an_empty_folder_that_was_there_stays():
    Path("out").mkdir()

    with existing(Path("out")):
        pass

    assert Path("out").is_dir()


def test_the_name_of_a_file_is_no_folder_for_several_models():
    for output in ("new.onnx", "new.ONNX", "new.pt2", "new.keras"):
        refuses(f"got the name of a file, expected a folder for 2 models .{output}/", ["a.onnx", "b.keras"], output)
    assert not list(Path().glob("new*"))
    for output in ("new.v2", "new.onnx/", "new"):
        assert targets(["a.onnx", "b.onnx"], output) == [
            os.path.join(output, "a.folded.onnx"),
            os.path.join(output, "b.folded.onnx"),
        ]


def test_a_folder_that_is_called_like_a_model_is_one():
    Path("old.onnx").mkdir()
    assert targets(["a.onnx", "b.onnx"], "old.onnx")[0] == os.path.join("old.onnx", "a.folded.onnx")


def left(*models, suffix=""):
    kept, skipped = without_own_results([Path(model) for model in models], suffix)
    return [str(model) for model in kept], {str(model): str(source) for model, source in skipped.items()}


def test_own_results_are_told_by_name_beside_their_source(folder):
    (folder / "sub").mkdir()
    for name in ("a.folded.onnx", "a.folded.folded.onnx", "b.folded.onnx", "sub/a.folded.onnx", "c.folded.onnx"):
        (folder / name).write_text(name)

    assert left("a.folded.onnx", "a.onnx") == (["a.onnx"], {"a.folded.onnx": "a.onnx"})
    assert left("a.onnx", "a.folded.onnx", "a.folded.folded.onnx") == (
        ["a.onnx"],
        {"a.folded.onnx": "a.onnx", "a.folded.folded.onnx": "a.folded.onnx"},
    )
    assert left("./a.onnx", f"../{folder.name}/a.folded.onnx")[0] == ["a.onnx"]
    for models in (["a.folded.onnx"], ["a.folded.onnx", "b.onnx"], ["sub/a.folded.onnx", "a.onnx"], ["c.folded.onnx"]):
        assert left(*models) == (models, {})


def test_results_of_another_format_are_told_too():
    Path("m.folded.onnx").touch()
    assert left("m.pt2", "m.folded.onnx", suffix=".onnx") == (["m.pt2"], {"m.folded.onnx": "m.pt2"})
    assert left("m.pt2", "m.folded.pt2", suffix=".onnx")[0] == ["m.pt2"]
    assert left("m.pt2", "m.folded.onnx")[1] == {}


def test_a_link_to_the_source_is_no_result():
    Path("a.folded.onnx").symlink_to("a.onnx")
    assert left("a.onnx", "a.folded.onnx")[1] == {}
