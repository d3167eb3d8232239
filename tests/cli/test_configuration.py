"""Options out of bnfold.toml and pyproject.toml: which file counts, what it may say, and who wins."""

from pathlib import Path

import click
import pytest

from bnfold.cli.fold_command import fold_command
from bnfold.cli.main import main
from bnfold.cli.verify_command import verify_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, two below one for files of others."""
    here = tmp_path / "outer" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    return here


def asked(*arguments, command=fold_command):
    """The request of a command line, with the file that counts."""
    models = ["m.onnx"] if command is fold_command else ["a.onnx", "b.onnx"]
    return command.main([*models, *arguments], standalone_mode=False, obj=(fold_command, verify_command))


def refused(*arguments):
    with pytest.raises(click.UsageError) as caught:
        asked(*arguments)
    assert "\n" not in caught.value.format_message()
    return caught.value.format_message()


def test_without_a_file_the_defaults_hold(folder):
    assert (folder, asked().check.samples, asked().configuration) == (folder, 6, ())


def test_a_file_says_what_options_say(folder):
    (folder / "bnfold.toml").write_text(
        """
        samples = 2
        rtol = 1e-3
        exclude = ["a*", "b"]
        merge-branches = false
        fail-on-kept = true
        max-kept = 3
        verify-memory = "1.5GiB"
        on-mismatch = "revert"
        dim = {batch = 4, "n:0" = 2}
        shape = {x = [1, 3, 224, 224]}
        input = {y = "real/y.npy"}
        report = ["r.json", "-"]
        jobs = "auto"
        """
    )

    request = asked()

    assert (request.check.samples, request.check.rtol, request.check.memory) == (2, 1e-3, 3 * 2**29)
    assert (request.exclude, request.merge_branches, request.on_mismatch) == (("a*", "b"), False, "revert")
    assert (request.fail_on_kept, request.max_kept) == (True, 3)
    assert request.check.dims == {"batch": 4, "n:0": 2}
    assert request.shapes == {"x": (1, 3, 224, 224)}
    assert request.check.inputs == {"y": folder / "real" / "y.npy"}
    assert request.reports == (folder / "r.json", Path("/dev/stdout")) or request.reports[0] == folder / "r.json"
    assert request.jobs >= 1


def test_repeatable_options_may_be_one_value_or_texts_as_typed(folder):
    (folder / "bnfold.toml").write_text('exclude = "a*"\ndim = ["batch=4"]\n')

    assert (asked().exclude, asked().check.dims) == (("a*",), {"batch": 4})


def test_the_command_line_wins_and_that_is_told(folder):
    (folder / "bnfold.toml").write_text('samples = 2\nexclude = ["a"]\naffine = false\n')

    request = asked("--samples", "9", "--affine")

    assert (request.check.samples, request.exclude, request.affine) == (9, ("a",), True)
    (line,) = request.configuration
    assert line.startswith(f"options of {folder / 'bnfold.toml'}: ")
    assert "samples = 2, but the command line wins" in line
    assert "affine = false, but the command line wins" in line
    assert line.count(", but the command line wins") == 2
    assert "exclude = ['a']" in line


def test_the_nearest_file_counts_alone(folder):
    (folder.parent / "bnfold.toml").write_text("samples = 2\nseed = 5\n")
    assert (asked().check.samples, asked().check.seed) == (2, 5)
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert asked().check.samples == 2, "a project that says nothing of bnfold is passed by"
    (folder / "pyproject.toml").write_text("[tool.bnfold]\nsamples = 3\n")
    assert (asked().check.samples, asked().check.seed) == (3, 0)
    (folder / "bnfold.toml").write_text("samples = 4\n")
    assert asked().check.samples == 4


def test_a_file_can_be_named_or_left_alone(folder):
    (folder / "bnfold.toml").write_text("samples = 2\n")
    (folder / "other.toml").write_text("samples = 3\n")

    assert asked("--config", "other.toml").check.samples == 3
    assert asked("--no-config").check.samples == 6
    for both in (["--config", "other.toml", "--no-config"], ["--no-config", "--config", "other.toml"]):
        assert "contradict each other" in refused(*both)
    assert "cannot be read: No such file" in refused("--config", "gone.toml")
    (folder / "pyproject.toml").write_text("[tool.other]\n")
    assert "there is no [tool.bnfold] in it" in refused("--config", "pyproject.toml")


def test_commands_share_a_file(folder):
    (folder / "bnfold.toml").write_text("samples = 2\nmax-kept = 3\nsame-names = false\n")

    request = asked(command=verify_command)
    assert (request.check.samples, request.check.same_names) == (2, False)
    assert "max-kept" not in request.configuration[0]
    assert asked().max_kept == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sampels = 2", "unknown option 'sampels', expected samples"),
        ("no-affine = true", "unknown option 'no-affine', expected affine"),
        ("merge_branches = true", "unknown option 'merge_branches', expected merge-branches"),
        ("xyz = 2", "unknown option 'xyz', expected one of across, affine, allow-kept"),
        ("samples = 'x'", "samples: got 'x', expected a whole number"),
        ("samples = 0", "samples: got '0', expected a whole number"),
        ("samples = true", "samples: got True, expected a value"),
        ("samples = [1, 2]", "samples: got [1, 2], expected one value"),
        ("affine = 'yes'", "affine: got 'yes', expected true or false"),
        ("shape = {x = 'a'}", "shape: got 'x=a', expected whole numbers"),
        ("dim = 4", "dim: got '4', expected NAME=4"),
        ("on-mismatch = 'shrug'", "on-mismatch: 'shrug' is not one of"),
        ("verify-memory = '2TB'", "verify-memory: got '2TB', expected a size"),
        ("import = ['os']", "'import' is for the command line alone, because it runs code"),
        ("custom-ops = ['x.so']", "'custom-ops' is for the command line alone, because it runs code"),
        ("in-place = true", "'in-place' is for the command line alone"),
        ("output = 'x'", "'output' is for the command line alone"),
        ("config = 'x'", "'config' is for the command line alone"),
        ("samples = ", "is no TOML: "),
        ("samples = 1\nsamples = 2", "is no TOML: "),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_its_name(folder, capsys, text, told):
    (folder / "bnfold.toml").write_text(text)

    assert main(["m.onnx"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert f"{folder / 'bnfold.toml'}" in printed.err
    assert told in printed.err


def test_bytes_that_are_no_text(folder):
    (folder / "bnfold.toml").write_bytes(b"\xff\xfe")

    assert "cannot be read" in refused()


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nbnfold = 3\n"])
def test_a_project_of_another_form(folder, text):
    (folder / "pyproject.toml").write_text(text)

    if "bnfold" in text:
        assert "[tool.bnfold] must be a table, got 3" in refused()
    else:
        assert asked().configuration == ()


def test_options_against_each_other_are_those_that_were_typed(folder):
    (folder / "bnfold.toml").write_text("samples = 2\nrtol = 1.0\n")

    assert asked("--no-verify").check is None
    assert "--seed means nothing with --no-verify" in refused("--no-verify", "--seed", "1")


def test_help_and_explain_need_no_file(folder, capsys):
    (folder / "bnfold.toml").write_text("nonsense")

    assert main(["explain", "BNF201"]) == 0
    assert main(["--version", "--no-config"]) == 0
    capsys.readouterr()


def test_who_wants_all_is_told_of_the_file(folder, capsys):
    (folder / "bnfold.toml").write_text("samples = 2\n")

    main(["gone.onnx", "-v"])
    assert f"bnfold: options of {folder / 'bnfold.toml'}: samples = 2\n" in capsys.readouterr().err
    main(["gone.onnx"])
    assert "options of" not in capsys.readouterr().err
