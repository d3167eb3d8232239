"""Messages speak the language of the door: keywords in Python, options under the command."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import onnx
import pytest

import bnfold
from bnfold.cli.fold_command import fold_command
from bnfold.cli.main import main
from bnfold.cli.spelling import as_option
from bnfold.cli.verify_command import verify_command
from bnfold.keywords import keyword
from tests.networks import Network

PACKAGE = Path(bnfold.__file__).parent
OPTIONS = {
    name
    for command in (fold_command, verify_command)
    for parameter in command.params
    for name in (*parameter.opts, *parameter.secondary_opts)
}
FIELDS = {
    *(entry.name for entry in fields(bnfold.FoldOptions)),
    *(f"VerifyOptions.{entry.name}" for entry in fields(bnfold.VerifyOptions)),
    "verbose",  # of Report.to_text
    *(f"Limits.{entry.name}" for entry in fields(bnfold.Limits)),
}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "cli" not in path.parents)


def calls_of_keyword():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "keyword":
                yield node


def test_what_messages_name_is_there_in_either_language():
    calls = list(calls_of_keyword())
    named = {call.args[0].value for call in calls}
    assert len(calls) > 20
    assert named - FIELDS == set()
    assert {as_option(name, None) for name in named} - OPTIONS <= {"--verify", "--to"} - OPTIONS


def texts(path):
    """Strings that are not docstrings."""
    tree = ast.parse(path.read_text())
    documented = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    docstrings = {id(node.body[0].value) for node in documented if isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_message_outside_the_command_names_an_option(path):
    if any(part.startswith("html") for part in path.relative_to(PACKAGE).parts):
        return  # styles have names of that form
    words = {word for text in texts(path) for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
    assert words & OPTIONS == set()


@pytest.mark.parametrize(
    ("name", "value", "python", "command"),
    [
        ("verify", False, "verify=False", "--no-verify"),
        ("assume_inference", True, "assume_inference=True", "--assume-inference"),
        ("to", "onnx", "to='onnx'", "--to onnx"),
        ("shapes", None, "shapes", "--shape"),
        ("shapes", {"x": (1, 3), "y": (2,)}, "shapes={'x': (1, 3), 'y': (2,)}", "--shape x=1,3 --shape y=2"),
        ("VerifyOptions.memory", None, "VerifyOptions.memory", "--verify-memory"),
    ],
)
def test_both_languages(name, value, python, command):
    assert (keyword(name, value), as_option(name, value)) == (python, command)


def test_the_command_speaks_its_own_and_gives_the_word_back(tmp_path, capsys):
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c"), "y", 4)
    model = network.model({"x": [2, 3, 5, 5]}, ["y"])
    model.ir_version = 99  # newer than any onnxruntime
    onnx.save(model, tmp_path / "m.onnx")
    assert main([str(tmp_path / "m.onnx")]) == 5
    assert "use --no-verify" in capsys.readouterr().err
    with pytest.raises(bnfold.UncheckedError, match="use verify=False"):
        bnfold.fold(model)
