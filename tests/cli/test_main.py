"""The command in this process, with a fold that only pretends: what it is asked, and what becomes of its answer."""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnfold.cli.main import main
from bnfold.errors import InternalError, ModelFormatError, UsageError, VerificationError
from bnfold.outcome import Outcome
from bnfold.report.json import to_dict
from bnfold.verifier import VerifyOptions
from tests.reports import FAILED, PASSED, fold, kept, report

ERRORS = {
    "cannot run": VerificationError("the original does not run"),
    "no room": UsageError("cannot be written: Permission denied"),
    "broken": ModelFormatError("is not an ONNX model,\nor is truncated"),
    "lost": InternalError("lost a node"),
    "odd": KeyError("x"),
    "interrupt": KeyboardInterrupt(),
}
KEPT = {"stays": [kept()], "mul stays": [kept(op="Mul")]}
CHANGED = {
    "warns": {"verification": replace(PASSED, warnings=("output 'y' never varied",)), "warnings": ("w.bin stays",)},
    "mistyped": {"outcome": Outcome((fold(),), (), ("typo*",))},
}


class Pretender:
    """Stands in for bnfold.api.files.folding_file. A model's file holds what becomes of it."""

    def __init__(self):
        self.calls = []

    def __call__(self, source, target, options, *, in_place=False, progress=lambda _: None, limits=None):  # noqa: ARG002 - as the real one
        progress("pretending")
        self.calls.append((source, target, options, in_place))
        fate = source.read_text()
        if fate == "differs":
            failed = report([fold()], input=str(source), output=None, verification=FAILED)
            raise VerificationError("output 'y' differs", failed)
        if fate in ERRORS:
            raise ERRORS[fate]
        if target:
            target.write_text("folded")
        made = report(
            [fold()], KEPT.get(fate, []), input=str(source), output=target and str(target), planned=not target
        )
        return replace(made, **CHANGED.get(fate, {}))
        yield  # as the real one, which waits for a process


@pytest.fixture(autouse=True)
def pretender(monkeypatch):
    made = Pretender()
    monkeypatch.setattr("bnfold.api.files.folding_file", made)
    return made


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Makes models in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(content="good", name="m.onnx"):
        Path(name).write_text(content)
        return name

    return make


def run(capsys, *arguments):
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_signature_of_the_pretender_is_that_of_the_real_one():
    from bnfold.api.files import folding_file

    assert list(inspect.signature(Pretender()).parameters) == list(inspect.signature(folding_file).parameters)


def test_results_go_to_stdout(model, capsys):
    code, out, err = run(capsys, model())

    assert code == 0
    assert out.startswith("m.onnx  onnx\n\n  BatchNorms       1 -> 0        1 folded\n")
    assert "Wrote m.folded.onnx" in out
    assert err == ""
    assert Path("m.folded.onnx").read_text() == "folded"


def test_defaults(pretender, model, capsys):
    run(capsys, model())

    ((source, target, options, in_place),) = pretender.calls
    assert (source, target, in_place) == (Path("m.onnx"), Path("m.folded.onnx"), False)
    assert (options.affine, options.exclude) == (True, ())
    assert (options.assume_inference, options.keep_overridable) == (False, False)
    assert options.verify == VerifyOptions()


def test_libraries_of_operators(pretender, model, capsys):
    Path("ops.so").write_text("")
    run(capsys, model(), "--custom-ops", "ops.so", "--custom-ops", "./ops.so")

    ((_, _, options, _),) = pretender.calls
    assert options.verify.custom_ops == (str(Path("ops.so").resolve()),) * 2


@pytest.mark.parametrize("others", [["absent.so"], ["m.onnx", "--no-verify"]])
def test_libraries_of_operators_that_are_none(model, capsys, others):
    code, _, err = run(capsys, model(), "--custom-ops", *others)

    assert code == 2
    assert "custom-ops" in err


def test_initializers_are_frozen_where_that_is_asked_for(pretender, model, capsys):
    code, _, _ = run(capsys, model(), "--freeze-initializers")

    assert code == 0
    assert pretender.calls[0][2].freeze_initializers is True


def test_frozen_and_kept_overridable_contradict_each_other(model, capsys):
    code, _, err = run(capsys, model(), "--freeze-initializers", "--keep-overridable")

    assert code == 2
    assert "contradict each other" in err


def test_every_option_arrives(pretender, model, capsys):
    np.save("x.npy", np.ones((2, 3)))

    code, _, _ = run(
        capsys,
        *(model(), "-o", "out.onnx", "--no-affine", "--no-merge-branches", "--assume-inference", "--keep-overridable"),
        *("--exclude", "bn*", "--exclude", "other", "--samples", "2", "--seed", "9", "--rtol", "1e-3", "--atol", "0"),
        *("--shape", "a=1,3", "--shape", "b=2", "--dim", "n=4", "--input", "x=x.npy"),
    )

    assert code == 0
    ((_, target, options, _),) = pretender.calls
    assert target == Path("out.onnx")
    assert (options.affine, options.merge_branches, options.exclude) == (False, False, ("bn*", "other"))
    assert (options.assume_inference, options.keep_overridable) == (True, True)
    assert options.freeze_initializers is False
    check = options.verify
    assert (check.samples, check.seed, check.rtol, check.atol) == (2, 9, 1e-3, 0.0)
    assert (check.shapes, check.dims) == ({"a": (1, 3), "b": (2,)}, {"n": 4})
    np.testing.assert_array_equal(check.inputs["x"], np.ones((2, 3)))


def test_no_verify_asks_for_no_check(pretender, model, capsys):
    run(capsys, model(), "--no-verify")

    assert pretender.calls[0][2].verify is None


def test_dry_run_has_no_target_and_makes_no_folder(pretender, model, capsys):
    code, out, _ = run(capsys, model(name="a.onnx"), model(name="b.onnx"), "--dry-run", "-o", "out")

    assert code == 0
    assert [call[1] for call in pretender.calls] == [None, None]
    assert out.count("This is a plan, nothing was written") == 2
    assert sorted(path.name for path in Path().iterdir()) == ["a.onnx", "b.onnx"]


def test_in_place(pretender, model, capsys):
    code, _, _ = run(capsys, model(), "-o", "m.onnx", "--in-place")

    assert code == 0
    assert pretender.calls[0][3] is True
    assert Path("m.onnx").read_text() == "folded"


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("differs", 1, "output 'y' differs"),
        ("cannot run", 1, "the original does not run"),
        ("no room", 2, "cannot be written: Permission denied"),
        ("broken", 3, "is not an ONNX model, or is truncated"),
        ("lost", 70, "lost a node; this is a bug in bnfold, please report it with the model"),
        ("odd", 70, "unexpected KeyError: 'x'; this is a bug in bnfold, please report it with the model"),
    ],
)
def test_an_error_is_one_line_on_stderr(model, capsys, content, code, message):
    answer, out, err = run(capsys, model(content))

    assert answer == code
    assert err.startswith(f"bnfold: m.onnx: {message}")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_the_report_of_a_failed_check_is_printed(model, capsys):
    _, out, _ = run(capsys, model("differs"))

    assert "Same results  NO" in out


def test_a_name_cannot_break_the_line_or_steer_the_terminal(model, capsys):
    _, _, err = run(capsys, model("broken", "a\n\x1b[2J.onnx"))

    assert err == "bnfold: a\\n\\x1b[2J.onnx: is not an ONNX model, or is truncated\n"


@pytest.mark.parametrize(("content", "traced"), [("odd", True), ("lost", True), ("broken", False)])
def test_verbose_adds_the_traceback_of_bugs_alone(model, capsys, content, traced):
    _, _, err = run(capsys, model(content), "-v")

    assert ("Traceback" in err) is traced


def test_a_missing_model_is_unreadable(model, capsys):
    model()

    code, out, err = run(capsys, "no.onnx", "m.onnx")

    assert code == 3
    assert err == "bnfold: no.onnx: does not exist\n"
    assert out.startswith("m.onnx  onnx\n")


def test_a_bad_model_does_not_stop_the_others(model, capsys):
    names = [model(content, f"{index}.onnx") for index, content in enumerate(["broken", "differs", "odd", "good"])]

    code, out, err = run(capsys, *names, "-o", "out")

    assert code == 70
    assert [line.split(": ")[1] for line in err.splitlines()] == ["0.onnx", "1.onnx", "2.onnx"]
    assert [path.name for path in Path("out").iterdir()] == ["3.folded.onnx"]
    assert out.index("1.onnx") < out.index("\n\n3.onnx  onnx\n")


def test_a_folder_for_nothing_is_not_left(model, capsys):
    run(capsys, model("broken", "a.onnx"), model("broken", "b.onnx"), "-o", "out")

    assert not Path("out").exists()


def test_fail_on_kept(model, capsys):
    assert run(capsys, model("stays"))[0] == 0
    code, _, err = run(capsys, model("stays"), "--fail-on-kept")
    assert (code, err) == (4, "bnfold: m.onnx: --fail-on-kept: 1 of 2 BatchNorms stay\n")
    assert run(capsys, model("mul stays"), "--fail-on-kept")[0] == 0
    assert run(capsys, model("differs"), "--fail-on-kept")[0] == 1


def test_how_many_may_stay_and_which(model, capsys):
    assert run(capsys, model("stays"), "--max-kept", "1")[0] == 0
    assert run(capsys, model("stays"), "--allow-kept", "bn*")[0] == 0
    code, _, err = run(capsys, model("stays"), "--allow-kept", "typo*", "-q")
    assert code == 4
    assert err.splitlines() == [
        "bnfold: m.onnx: --allow-kept: 1 of 2 BatchNorms stay",
        "bnfold: warning: --allow-kept 'typo*' matches no BatchNorm that stays",
    ]
    assert run(capsys, model("stays"), "--max-kept", "-1")[0] == 2


def test_runners_of_github_are_told(model, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _, out, _ = run(capsys, model("stays"), "--fail-on-kept", "-q")
    assert out.splitlines() == [
        "::error file=m.onnx,title=bnfold::--fail-on-kept: 1 of 2 BatchNorms stay",
        (
            "::notice file=m.onnx,title=1 BatchNorm stays::cannot be folded by any rewrite of this file: "
            "bn3: a negative scale cannot pass the operator (BNF104)"
        ),
    ]
    assert run(capsys, model("broken"), "-q")[1].startswith("::error file=m.onnx,title=bnfold::is not an ONNX model, ")
    assert run(capsys, model("stays"), "-q", "--no-annotate")[1] == ""


def test_a_report_for_code_scanning(model, capsys):
    assert run(capsys, model("stays"), "--report", "r.sarif")[0] == 0
    assert json.loads(Path("r.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "BNF104"


def test_quiet_prints_errors_only(model, capsys):
    assert run(capsys, model(), "-q") == (0, "", "")
    _, out, err = run(capsys, model("differs"), "-q")
    assert out == ""
    assert err == "bnfold: m.onnx: output 'y' differs\n"


def test_interrupt(pretender, model, capsys):
    code, _, err = run(capsys, model("interrupt", "a.onnx"), model(name="b.onnx"), "-o", "out", "--report", "r.json")

    assert code == 130
    assert err == "bnfold: interrupted\n"
    assert len(pretender.calls) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["a.onnx", "b.onnx", "r.json"]
    assert [(each["input"], each["exit_code"], each["message"]) for each in written_report()["failures"]] == [
        ("a.onnx", 130, "interrupted"),
        ("b.onnx", 130, "interrupted"),
    ]


def written_report(name="r.json"):
    return json.loads(Path(name).read_text())


def test_reports_of_one_model(model, capsys):
    run(capsys, model(), "--report", "r.json", "--report", "r.html")

    made = report([fold()], input="m.onnx", output="m.folded.onnx")
    assert written_report()["models"] == [to_dict(made)]
    assert written_report()["failures"] == []
    assert Path("r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_report_of_a_failed_check(model, capsys):
    run(capsys, model("differs"), "--report", "r.json")

    assert written_report()["models"][0]["verification"]["status"] == "failed"


@pytest.mark.parametrize(("content", "code"), [("broken", 3), ("cannot run", 1), ("no room", 2), ("odd", 70)])
def test_a_model_without_a_result_has_a_report_that_replaces_the_old_one(model, capsys, content, code):
    Path("r.json").write_text('{"of": "yesterday"}')
    Path("r.html").write_text("of yesterday")

    assert run(capsys, model(content), "--report", "r.json", "--report", "r.html")[0] == code

    (failure,) = written_report()["failures"]
    assert (failure["input"], failure["exit_code"], written_report()["models"]) == ("m.onnx", code, [])
    assert "of yesterday" not in Path("r.html").read_text()


def test_one_report_of_several_models(model, capsys):
    run(capsys, model(name="a.onnx"), model("broken", "b.onnx"), model("stays", "c.onnx"), "--report", "r.json")

    value = written_report()
    assert value["schema_version"] == 2
    assert [each["input"] for each in value["models"]] == ["a.onnx", "c.onnx"]
    assert value["failures"] == [
        {"input": "b.onnx", "exit_code": 3, "message": "is not an ONNX model, or is truncated"}
    ]


@pytest.mark.parametrize("option", [["--input", "x=gone.npy"], ["--input", "x=empty.npy"]])
def test_options_that_are_wrong_are_reported_too(model, capsys, option):
    np.save("empty.npy", np.ones((0, 3)))

    assert run(capsys, model(), *option, "--report", "r.json")[0] == 2
    (failure,) = written_report()["failures"]
    assert (failure["input"], failure["exit_code"]) == ("m.onnx", 2)


def test_a_report_that_cannot_be_written(model, capsys, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", fail)

    code, _, err = run(capsys, model(), "--report", "r.json")

    assert (code, err) == (2, "bnfold: r.json cannot be written: Permission denied\n")
    assert Path("m.folded.onnx").exists()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_samples_that_hold_nothing_are_refused(pretender, model, capsys, shape):
    np.save("x.npy", np.ones(shape))

    code, _, err = run(capsys, model(), "--input", "x=x.npy")

    assert (code, pretender.calls) == (2, [])
    assert f"the samples of input 'x' are empty, of shape {shape}" in err


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_samples_that_are_not_finite_are_refused(pretender, model, capsys, odd, dtype):
    np.save("x.npy", np.array([[1, 2], [3, odd]], dtype))

    code, _, err = run(capsys, model(), "--input", "x=x.npy")

    assert (code, pretender.calls) == (2, [])
    assert "hold 1 of 4 numbers that are infinite or NaN, the first at [1, 1]" in err


@pytest.mark.parametrize("values", [np.array([[True]]), np.array([2**62]), np.array(["text"])])
def test_samples_of_other_types_are_finite(model, capsys, values):
    np.save("x.npy", values)

    assert run(capsys, model(), "--input", "x=x.npy")[0] == 0


def test_a_pattern_that_matches_nothing_is_named(model, capsys):
    code, _, err = run(capsys, model("mistyped"), "--exclude", "typo*", "--exclude", "bn*")

    assert (code, err) == (0, "bnfold: warning: --exclude 'typo*' matches no node of m.onnx\n")


def test_a_pattern_that_matches_in_one_of_the_models_is_not(model, capsys):
    assert run(capsys, model("mistyped", "a.onnx"), model(name="b.onnx"), "--exclude", "typo*")[2] == ""
    both = [model("mistyped", "a.onnx"), model("mistyped", "b.onnx")]
    assert run(capsys, *both, "--exclude", "typo*", "-q")[2] == (
        "bnfold: warning: --exclude 'typo*' matches no node of these 2 models\n"
    )


@pytest.mark.parametrize("quiet", [True, False])
def test_warnings_go_to_stderr(model, capsys, quiet):
    code, out, err = run(capsys, model("warns"), *(["-q"] if quiet else []))

    assert code == 0
    assert (out == "") is quiet
    assert "never varied" not in out
    assert err == "bnfold: m.onnx: warning: output 'y' never varied\nbnfold: m.onnx: warning: w.bin stays\n"


def test_warnings_are_yellow_where_colours_are(model, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert "bnfold: m.onnx: \x1b[33mwarning:\x1b[0m w.bin stays\n" in run(capsys, model("warns"), "-q")[2]


def test_the_second_time_results_are_skipped_with_a_word(pretender, model, capsys):
    everything = [model(name="m.onnx"), model(name="n.onnx")]
    run(capsys, *everything)
    pretender.calls.clear()

    code, _, err = run(capsys, *sorted(path.name for path in Path().iterdir()))

    assert code == 0
    assert [str(call[0]) for call in pretender.calls] == ["m.onnx", "n.onnx"]
    assert err.splitlines() == [
        f"bnfold: {name}.folded.onnx: warning: skipped: it is called like the result of {name}.onnx, which is folded "
        "in this call"
        for name in "mn"
    ]
    assert sorted(path.name for path in Path().iterdir()) == ["m.folded.onnx", "m.onnx", "n.folded.onnx", "n.onnx"]


def test_a_result_that_is_named_alone_is_folded(model, capsys):
    run(capsys, model())

    assert run(capsys, "m.folded.onnx")[0] == 0
    assert Path("m.folded.folded.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-v",), "Missing argument 'MODEL...'"),
        (("m.onnx", "--nonsense"), "there is no option --nonsense"),
        (("m.onnx", "--shape", "a=x"), "Invalid value for '--shape': got 'a=x', expected whole numbers"),
        (("m.onnx", "--dim", "a=1", "--dim", "a=2"), "Invalid value for '--dim': 'a' is given twice"),
        (("m.onnx", "--samples", "0"), "Invalid value for '--samples'"),
        (("m.onnx", "--rtol", "nan"), "Invalid value for '--rtol': got 'nan', expected a finite number"),
        (("m.onnx", "--report", "r.txt"), "expected a file that ends in .json, .html or .sarif"),
        (("m.onnx", "--input", "x=x.npy"), "--input x=x.npy: cannot be read as a NumPy file: No such file"),
        (("m.onnx", "-o", "m.onnx"), "m.onnx is the model itself"),
        (("m.onnx", "-o", "no/m.onnx"), "there is no folder no"),
        (("m.onnx", "--report", "no/r.json"), "there is no folder no"),
        (("m.onnx", "-q", "-v"), "--verbose means nothing with --quiet"),
        (("m.onnx", "--no-verify", "--rtol", "1"), "--rtol means nothing with --no-verify"),
        (("m.onnx", "--no-verify", "--dim", "n=1"), "--dim means nothing with --no-verify"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_runs(pretender, model, capsys, arguments, message):
    model()

    code, out, err = run(capsys, *arguments)

    assert code == 2
    assert err.startswith("bnfold: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert pretender.calls == []


def test_the_width_is_that_of_the_terminal(model, capsys, monkeypatch):
    name = "x" * 60 + ".onnx"
    monkeypatch.setenv("COLUMNS", "50")

    _, out, _ = run(capsys, model(name=name))

    assert max(map(len, out.splitlines())) == 50


def test_version(capsys):
    from bnfold.version import __version__

    assert run(capsys, "--version") == (0, f"bnfold {__version__}\n", "")
