"""A trace is folded and checked without options: its file says the shapes of the inputs that it was traced with."""

import pickle
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from bnfold.frontends.torchscript.file import inputs_of_trace  # noqa: E402
from bnfold.frontends.torchscript.inputs import recorded_shapes  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import deprecations_silenced  # noqa: E402

IMAGE, ROWS = (2, 3, 6, 6), (5, 3)


class Two(nn.Module):
    """An image and rows of numbers, held by whatever `take` takes them from."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.linear, self.other = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def both(self, image, rows):
        return self.norm(self.conv(image)), self.other(self.linear(rows))


class OfTwo(Two):
    def forward(self, image, rows):
        return self.both(image, rows)


class OfTuple(Two):
    def forward(self, pair):
        return self.both(pair[0], pair[1])


class OfDict(Two):
    def forward(self, inputs):
        return self.both(inputs["image"], inputs["rows"])


class OfList(Two):
    def forward(self, items):
        return self.both(items[0], items[1])


class OfNested(Two):
    def forward(self, pair, inputs, items):
        return self.both(pair[0] + items[0] + items[1], inputs["rows"] + pair[1])


IMAGES, LINES = torch.randn(IMAGE), torch.randn(ROWS)
CASES = {
    "plain": (OfTwo, (IMAGES, LINES), {"image": IMAGE, "rows": ROWS}),
    "tuple": (OfTuple, ((IMAGES, LINES),), {"pair.0": IMAGE, "pair.1": ROWS}),
    "dict": (OfDict, ({"image": IMAGES, "rows": LINES},), {"inputs.image": IMAGE, "inputs.rows": ROWS}),
    "list": (OfList, ([IMAGES, LINES],), {"items.0": IMAGE, "items.1": ROWS}),
    "nested": (
        OfNested,
        ((IMAGES, LINES), {"rows": LINES, "unread": LINES}, [IMAGES, IMAGES]),
        {
            "pair.0": IMAGE,
            "pair.1": ROWS,
            "inputs.rows": ROWS,
            "inputs.unread": ROWS,
            "items.0": IMAGE,
            "items.1": IMAGE,
        },
    ),
}


def traced(case):
    network, arguments, _ = CASES[case]
    torch.manual_seed(0)
    with deprecations_silenced():
        return torch.jit.trace(randomised(network()), arguments, strict=False)


def saved(module, path):
    with deprecations_silenced():
        torch.jit.save(module, path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_the_file_says_the_shapes(case, tmp_path):
    module, expected = traced(case), CASES[case][2]
    assert recorded_shapes(module, inputs_of_trace(saved(module, tmp_path / "m.pt"))) == expected


@pytest.mark.parametrize("case", CASES)
def test_a_trace_folds_and_is_checked_without_options(case, tmp_path, capsys):
    source, target = saved(traced(case), tmp_path / "m.pt"), tmp_path / "out.pt"
    assert main([str(source), "-o", str(target), "--fail-on-kept"]) == 0
    printed = capsys.readouterr()
    shown = " ".join(printed.out.split())
    assert "BatchNorms 2 -> 0 2 folded" in shown
    assert "Same results yes" in shown
    assert "was fed as (2, 3, 6, 6)" in printed.err
    assert "give --shape to choose" in printed.err


def test_a_module_that_was_traced_in_memory_says_its_shapes_itself():
    report = bnfold.fold(traced("nested")).report
    assert (report.verification.status, report.batch_norms.kept, report.warnings) == ("passed", 0, ())


def test_shapes_of_the_caller_come_first(tmp_path):
    report = bnfold.fold(
        saved(traced("plain"), tmp_path / "m.pt"), verify=VerifyOptions(shapes={"rows": (7, 3)})
    ).report
    assert report.verification.status == "passed"
    assert report.warnings == ("image was fed as (2, 3, 6, 6), as the file was traced: give shapes to choose",)


def test_nothing_is_said_where_the_caller_says_all(tmp_path):
    source = saved(traced("plain"), tmp_path / "m.pt")
    shapes = {"image": IMAGE, "rows": ROWS}
    assert bnfold.fold(source, verify=VerifyOptions(shapes=shapes)).report.warnings == ()


class OfFixedBatch(nn.Module):
    """A trace keeps the lengths that it met: this one runs on two rows at a time, and on no other number."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, rows):
        return self.norm(self.linear(rows)).view(2, 2, 2)


@pytest.mark.parametrize("rows", [2, 6])
def test_values_that_hold_several_samples_of_the_trace_are_cut_into_samples(rows, tmp_path):
    torch.manual_seed(0)
    with deprecations_silenced():
        module = torch.jit.trace(randomised(OfFixedBatch()), (torch.randn(2, 3),))
    values = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    report = bnfold.fold(saved(module, tmp_path / "m.pt"), verify=VerifyOptions(inputs={"rows": values})).report
    assert (report.verification.status, report.batch_norms.kept, report.warnings) == ("passed", 0, ())
    assert report.verification.samples == rows // 2


def test_values_that_are_no_whole_number_of_samples_are_fed_as_they_are(tmp_path):
    module, values = traced("plain"), np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    report = bnfold.fold(
        saved(module, tmp_path / "m.pt"), verify=VerifyOptions(inputs={"rows": values}, shapes={"image": IMAGE})
    ).report
    assert (report.verification.status, report.batch_norms.kept) == ("passed", 0)


@pytest.mark.parametrize("pickled", [b"nonsense", pickle.dumps({"forward": [print]}), pickle.dumps([1]), b""])
def test_what_torch_did_not_write_is_not_believed(pickled, tmp_path):
    source, spoilt = saved(traced("plain"), tmp_path / "m.pt"), tmp_path / "spoilt.pt"
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(spoilt, "w", zipfile.ZIP_STORED) as after:
        for name in before.namelist():
            after.writestr(name, pickled if name.endswith("/traced_inputs.pkl") else before.read(name))
    (warning,) = bnfold.fold(spoilt).report.warnings
    assert "as the file was traced" not in warning
