"""What is typed where a model is expected, and is none."""

from pathlib import Path

import pytest

from bnfold.cli.main import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.onnx").touch()


def told(capsys, *arguments):
    code = main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


def test_the_name_alone_says_how_to_begin(capsys):
    code, err = told(capsys)

    assert code == 2
    assert "  bnfold model.onnx " in err
    assert max(map(len, err.splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["exlain", "BNF101"], "bnfold explain BNF101"),
        (["Explain", "BNF101"], "bnfold explain BNF101"),
        (["vrify", "a.onnx", "b.onnx"], "bnfold verify a.onnx b.onnx"),
        (["compare"], "bnfold verify A B"),
        (["fold", "net.onnx"], "bnfold net.onnx"),
        (["help"], "bnfold --help"),
        (["version"], "bnfold --version"),
    ],
)
def test_a_mistyped_command_is_told_from_a_model(capsys, typed, meant):
    assert told(capsys, *typed) == (2, f"bnfold: {typed[0]} is no file and no command: did you mean {meant}?\n")


def test_a_model_may_be_called_like_a_mistyped_command(capsys):
    Path("fold").write_text("nothing")

    code, err = told(capsys, "fold")

    assert code == 3
    assert err.startswith("bnfold: fold: is ")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("nett.onnx", "does not exist: did you mean net.onnx?"),
        ("net", "does not exist: did you mean net.onnx?"),
        ("other.onnx", "does not exist"),
        ("no/net.onnx", "does not exist, and neither does the folder no"),
        (".", "is a folder: give its model, net.onnx"),
        ("empty", "is a folder without models: give the path of a file"),
        ("several", "is a folder: give its 3 models, several/*.onnx several/*.pt2"),
        ("tensorflow", "is a SavedModel of TensorFlow: convert it to ONNX first, as tf2onnx does"),
    ],
)
def test_a_path_without_a_file_says_which_may_be_meant(capsys, typed, said):
    for folder, names in {
        "empty": [],
        "several": ["a.onnx", "b.onnx", "c.pt2"],
        "tensorflow": ["saved_model.pb"],
    }.items():
        Path(folder).mkdir()
        for name in names:
            (Path(folder) / name).touch()

    assert told(capsys, typed) == (3, f"bnfold: {typed}: {said}\n")
    assert told(capsys, "verify", typed, "net.onnx") == (3, f"bnfold: {typed}: {said}\n")


def test_standard_input_is_not_read(capsys):
    code, err = told(capsys, "-")

    assert code == 2
    assert "- is standard input, which is not read" in err
    assert "./-" in err


def test_a_model_that_is_given_twice_is_named(capsys):
    assert told(capsys, "net.onnx", "./net.onnx") == (2, "bnfold: net.onnx is given twice: leave one out\n")


@pytest.mark.parametrize(
    ("typed", "meant"), [("--no-verfy", "--no-verify"), ("--dryrun", "--dry-run"), ("--outptu", "--output")]
)
def test_a_mistyped_option_has_one_suggestion(capsys, typed, meant):
    code, err = told(capsys, "net.onnx", typed)

    assert code == 2
    assert err == f"bnfold: there is no option {typed}: did you mean {meant}? (see bnfold --help)\n"


@pytest.mark.parametrize("typed", ["--overwrite", "--skip-verify", "--json"])
def test_an_option_of_other_tools_is_not_taken_for_one_that_means_something_else(capsys, typed):
    assert told(capsys, "net.onnx", typed) == (2, f"bnfold: there is no option {typed} (see bnfold --help)\n")
