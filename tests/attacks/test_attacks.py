"""Files of strangers: each is one line and exit code 3, and leaves no mark; loaded by torch itself, it would."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from tests.attacks import on_programs, on_scripts  # noqa: E402
from tests.attacks.context import Context  # noqa: E402
from tests.attacks.zips import archive  # noqa: E402

ALL = [
    pytest.param(attack, ending, id=f"{ending}-{name}")
    for ending, attacks in (("pt2", on_programs.ATTACKS), ("pt", on_scripts.ATTACKS))
    for name, attack in attacks.items()
]


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path / "mark")


@pytest.fixture(scope="module", autouse=True)
def _good_files_were_read_before(tmp_path_factory):
    """What that imports and remembers is there in every child, then, and not made anew in each."""
    folder = tmp_path_factory.mktemp("good")
    context = Context(folder / "mark")
    for ending, parts in (("pt2", context.program), ("pt", context.script)):
        path = folder / f"good.{ending}"
        path.write_bytes(archive(parts))
        bnfold.fold_file(path, folder / f"out.{ending}", verify=None)


@pytest.mark.parametrize(("attack", "ending"), ALL)
def test_it_is_refused(attack, ending, context, tmp_path, capfd):
    path = tmp_path / f"evil.{ending}"
    path.write_bytes(attack.make(context))
    code = main([str(path), "--no-verify", "-o", str(tmp_path / f"out.{ending}")])
    said = capfd.readouterr().err
    assert (code, len(said.splitlines())) == (3, 1), said
    assert "child process" not in said, said  # it was refused, not caught when it broke something
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("ending", ["pt", "pt2"])
def test_the_good_files_are_accepted(ending, context, tmp_path):
    path = tmp_path / f"good.{ending}"
    path.write_bytes(archive(context.program if ending == "pt2" else context.script))
    assert main([str(path), "--no-verify", "-q", "-o", str(tmp_path / f"out.{ending}")]) == 0


LOAD = """
import sys, warnings, torch
for path in sys.argv[1:]:
    try:
        if path.endswith("pt2"):
            torch.export.load(path).module()(torch.ones(2, 3, 8, 8))
        else:
            torch.jit.load(path)
    except BaseException:
        pass
"""


def test_the_payloads_go_off_in_torch(tmp_path):
    """So that an attack is not refused for a slip in its making alone."""
    paths, marks = [], {}
    for ending, attacks in (("pt2", on_programs.ATTACKS), ("pt", on_scripts.ATTACKS)):
        for name, attack in attacks.items():
            if attack.fires:
                marks[f"{ending}-{name}"] = tmp_path / f"mark_{len(marks)}"
                paths.append(tmp_path / f"{len(marks)}.{ending}")
                paths[-1].write_bytes(attack.make(Context(marks[f"{ending}-{name}"])))
    subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], check=True, capture_output=True, timeout=300)
    assert [name for name, mark in marks.items() if not mark.exists()] == []
    assert len(marks) >= 30
