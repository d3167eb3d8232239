"""The recipes do what they say: their code runs, and prints what stands under it.

Tools that are not installed stand in by modules with their recorded signatures; where they are installed, those
signatures are compared with theirs.
"""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bnfold.cli.fold_command import fold_command
from tests.folding import count
from tests.networks import Network

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
RECORDED = Path(__file__).parent / "recorded"
STANDING_IN = [name for name in ("executorch", "olive") if find_spec(name) is None]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page):
    return BLOCK.findall((RECIPES / page).read_text(encoding="utf-8"))


def pages_with(language):
    return sorted(path.name for path in RECIPES.glob("*.md") if any(kind == language for kind, _ in blocks(path.name)))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the recipes name."""
    shutil.copyfile(ROOT / "examples" / "digits_cnn.onnx", tmp_path / "model.onnx")
    shutil.copyfile(ROOT / "examples" / "digits_heldout.npz", tmp_path / "images.npz")
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c"), "n", 4)
    network.batch_norm(network.node("Sigmoid", ["n"], "s"), "y", 4)
    (tmp_path / "kept.onnx").write_bytes(network.model({"x": [2, 3, 5, 5]}, ["y"]).SerializeToString())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tools(monkeypatch):
    """Tools that are not installed, as they are recorded."""
    if STANDING_IN:
        monkeypatch.syspath_prepend(str(RECORDED))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in STANDING_IN or name == "bnfold.olive":
            del sys.modules[name]


NEEDS = {"executorch.md": ["torch"], "onnx_ir.md": ["onnx_ir"], "torch_onnx_export.md": ["torch", "onnxscript"]}


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("desk", "tools")
@pytest.mark.parametrize("page", pages_with("python"))
def test_the_code_prints_what_stands_under_it(page, capsys):
    for name in NEEDS.get(page, []):
        pytest.importorskip(name)
    found = blocks(page)
    code = "\n".join(text for language, text in found if language == "python")
    expected = "".join(text for language, text in found if not language)
    exec(compile(code, page, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out.splitlines()
    lines = expected.splitlines()
    assert printed[len(printed) - len(lines) :] == lines


@pytest.mark.usefixtures("tools")
def test_the_pass_of_olive_leaves_a_folded_model(desk):
    from olive.workflows import run

    import bnfold.olive

    asked = {"type": "FoldBatchNorm", "config": {"exclude": ["/conv_bn/*"]}}
    if "olive" not in STANDING_IN:
        asked = {"type": "FoldBatchNorm", "exclude": ["/conv_bn/*"]}
    workflow = {
        "input_model": {"type": "ONNXModel", "model_path": "model.onnx"},
        "passes": {"fold": asked},
        "output_dir": "out",
        "cache_dir": "cache",
    }
    run(workflow, package_config=bnfold.olive.package_config())
    (result,) = desk.glob("out/**/*.onnx")
    import onnx

    assert count(onnx.load(result), "BatchNormalization") == 1
    assert bnfold.verify("model.onnx", result).passed


def recorded_names():
    for path in sorted(RECORDED.rglob("*.py")):
        module = ".".join(path.relative_to(RECORDED).with_suffix("").parts).removesuffix(".__init__")
        for name in re.findall(r"^(?:def|class) (\w+)", path.read_text(), re.MULTILINE):
            yield module, name


@pytest.mark.parametrize(("module", "name"), list(recorded_names()))
def test_recorded_signatures_are_those_of_the_tool(module, name):
    if module.partition(".")[0] in STANDING_IN:
        pytest.skip("it is not installed here, and stands in for itself")
    real = getattr(importlib.import_module(module), name)
    (path,) = [
        path
        for path in (RECORDED / f"{module.replace('.', '/')}.py", RECORDED / module.replace(".", "/") / "__init__.py")
        if path.exists()
    ]
    namespace = {"__name__": "recorded"}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    recorded = namespace[name]
    for member in ["", *(key for key, value in vars(recorded).items() if inspect.isfunction(value))]:
        ours, theirs = (getattr(kind, member) if member else kind for kind in (recorded, real))
        if inspect.isclass(ours) and "__init__" not in vars(ours) and "__dataclass_fields__" not in vars(ours):
            continue
        known = inspect.signature(theirs).parameters.values()
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)  # as decorators leave it
        assert takes_any or set(inspect.signature(ours).parameters) <= {parameter.name for parameter in known}


@pytest.fixture
def command(tmp_path_factory):
    """A folder with a bnfold for the path, as an installation would have it."""
    folder = tmp_path_factory.mktemp("bin")
    for name, arguments in (("bnfold", "-m bnfold"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a POSIX shell")
@pytest.mark.parametrize("page", pages_with("console"))
def test_the_commands_print_what_stands_under_them(page, desk, command):
    environment = {**os.environ, "PATH": f"{command}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    environment.pop("GITHUB_ACTIONS", None)  # where results come with annotations
    for line, expected in sessions(page):
        if "complete -p" in line and not knows_completion():
            pytest.skip("this bash has no programmable completion")
        done = subprocess.run(
            ["bash", "-c", line], cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        status = [f"[{done.returncode}]"] if done.returncode else []
        assert [*(done.stdout + done.stderr).splitlines(), *status] == expected, line


def sessions(page):
    """Commands and the lines that they print; a status other than 0 stands in brackets behind."""
    for language, text in blocks(page):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *expected = part.splitlines()
                yield line, expected


def knows_completion():
    done = subprocess.run(
        ["bash", "-c", "complete -p >/dev/null 2>&1; type complete"], capture_output=True, check=False
    )
    return done.returncode == 0


def test_every_recipe_is_listed():
    listed = set(re.findall(r"\]\((\w+\.md)\)", (RECIPES / "index.md").read_text()))
    assert listed == {path.name for path in RECIPES.glob("*.md")} - {"index.md"}


def test_the_hook_of_pre_commit_has_the_arguments_of_the_recipe():
    (entry,) = re.findall(r"^  entry: (.*)$", (ROOT / ".pre-commit-hooks.yaml").read_text(), re.MULTILINE)
    assert f"$ {entry} model.onnx" in (RECIPES / "pre_commit.md").read_text()
    assert {"--in-place", "--quiet"} <= {name for option in fold_command.params for name in option.opts}
