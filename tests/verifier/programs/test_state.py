"""What programs keep from call to call, and what they write into their inputs: kept by a fold, seen by the check."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from bnfold.verifier.programs.check import check_torch  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced, reloaded  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 6)
OPTIONS = VerifyOptions(shapes={"x": (2, 3, 6, 6)}, samples=2)


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)  # two of them differ in what they keep alone
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("seen", torch.zeros(()))


class Counts(Stateful):
    """Counts its calls in a number and in a buffer, and adds the count to the result."""

    calls: int

    def __init__(self):
        super().__init__()
        self.calls = 3

    def forward(self, x):
        self.calls = self.calls + 1
        self.seen = self.seen + x.sum()
        return self.norm(self.conv(x)) + float(self.calls) * self.seen


class Remembers(Stateful):
    """Puts the end of what it was given before in front, as streaming networks do, and keeps it in place."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight
        self.register_buffer("cache", torch.zeros(2, 3, 2, 6))

    def forward(self, x):
        joined = torch.cat([self.cache, x], dim=2)
        self.cache.copy_(self.weight * joined[:, :, -2:])
        return self.norm(self.conv(joined))


class WritesInput(Stateful):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        y = self.norm(self.conv(x))
        x.mul_(self.factor)
        return y


class Appends(Stateful):
    """Keeps a list of numbers."""

    def __init__(self):
        super().__init__()
        self.history = [0.5]

    def forward(self, x):
        self.history.append(self.history[-1] + 1.0)
        return self.norm(self.conv(x)) * self.history[-1]


def randomly(module):
    torch.manual_seed(0)
    return randomised(module)


def made(kind, module):
    if kind == "exported":
        return export(module, IMAGE)
    if kind == "scripted":
        return compiled(module, kind)
    with deprecations_silenced(), torch.no_grad():
        return torch.jit.trace(module, IMAGE, check_trace=False)  # a second run begins with another state


def folded(model):
    return bnfold.fold(model, verify=VerifyOptions(shapes=OPTIONS.shapes, samples=2))


def state_of(model):
    held = model.state_dict if is_exported(model) else model.state_dict()
    return {name: tensor.clone() for name, tensor in held.items()}


def is_exported(model):
    return isinstance(model, torch.export.ExportedProgram)


def runnable(model):
    return model.module() if is_exported(model) else model


def wrong_outputs(verdict):
    return [output.name for output in verdict.outputs if not output.passed]


WAYS = ("scripted", "traced", "exported")
FOLDED = [
    ("scripted", Counts),  # numbers and lists are constants elsewhere
    ("scripted", Appends),
    *((way, module) for module in (Remembers, WritesInput) for way in WAYS),
]


@pytest.mark.parametrize(("kind", "module"), FOLDED)
def test_the_check_leaves_no_trace_and_finds_nothing(kind, module):
    model = made(kind, randomly(module()))
    before = state_of(model)
    verdict = check_torch(model, model, OPTIONS)
    assert verdict.passed, verdict.problem
    after = state_of(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("kind", "module"), FOLDED)
def test_a_fold_keeps_the_state_of_the_original(kind, module):
    model = made(kind, randomly(module()))
    before = state_of(model)
    result = folded(model)
    for state in (state_of(model), state_of(result.model)):
        assert all(torch.equal(state[name], before[name]) for name in ("seen", "cache") if name in before)
    if module is Counts:
        assert result.model.calls == 3
    if module is Appends:
        assert result.model.history == [0.5]
    new, old = runnable(result.model), runnable(model)
    with torch.no_grad():
        for _ in range(3):
            assert_equal_results(old(IMAGE.clone()), new(IMAGE.clone()))


def test_a_folded_program_has_buffers_of_its_own():
    program = made("exported", randomly(Remembers()))
    result = bnfold.fold(program, verify=None).model
    result.state_dict["cache"].fill_(1)
    assert not program.state_dict["cache"].any()


@pytest.mark.parametrize("kind", WAYS)
def test_parts_are_run_alone_where_a_buffer_is_written(kind):
    """The script reads it twice: before the call writes to it, and to write to it."""
    model = made(kind, randomly(Remembers()))
    verdict = check_torch(model, folded(model).model, VerifyOptions(shapes=OPTIONS.shapes, samples=1))
    assert verdict.passed, verdict
    assert verdict.tensors
    assert not [text for text in verdict.warnings if "alone" in text]


@pytest.mark.parametrize("kind", WAYS)
def test_a_buffer_that_is_written_with_other_values_is_caught(kind):
    ours, theirs = (made(kind, randomly(Remembers(weight))) for weight in (1.0, 0.99))
    verdict = check_torch(ours, theirs, VerifyOptions(shapes=OPTIONS.shapes, samples=1))
    assert not verdict.passed
    assert "state cache" in f"{verdict.problem} {wrong_outputs(verdict)}"


@pytest.mark.parametrize("kind", WAYS)
def test_an_input_that_is_written_with_other_values_is_caught(kind):
    ours, theirs, never = (made(kind, randomly(WritesInput(factor))) for factor in (2.0, 2.02, 1.0))
    for one, other in ((ours, theirs), (ours, never), (never, ours)):
        verdict = check_torch(one, other, OPTIONS)
        assert "input x" in wrong_outputs(verdict), verdict


def test_another_state_to_begin_with_is_caught():
    ours = made("scripted", randomly(Counts()))
    theirs = reloaded(ours)
    theirs.seen.fill_(1e-9)
    assert "'state seen' does not begin with" in check_torch(ours, theirs, OPTIONS).problem
    theirs = reloaded(ours)
    theirs.calls = 4
    assert "'state calls' does not begin with" in check_torch(ours, theirs, OPTIONS).problem


class OnlyLater(Stateful):
    """What the second call returns shows what the first one kept."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.previous = [torch.zeros(2, 4, 4, 4)]

    def forward(self, x):
        y = self.norm(self.conv(x))
        z = y + self.weight * self.previous[0]
        self.previous[0] = y
        return z


def test_calls_in_a_row_are_compared():
    ours, theirs = (made("scripted", randomly(OnlyLater(weight))) for weight in (1.0, 0.99))
    assert check_torch(ours, ours, OPTIONS).passed
    assert "output in call 2" in wrong_outputs(check_torch(ours, theirs, OPTIONS))


def training():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize("decomposed", [False, True])
def test_programs_in_training_mode_equal_themselves(decomposed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export(training().train(), IMAGE, decomposed=decomposed)
    verdict = check_torch(program, program, VerifyOptions(samples=2))
    assert verdict.passed, verdict.problem
    assert any("num_batches_tracked" in entry.name for entry in verdict.outputs)


def test_statistics_that_training_keeps_are_compared():
    module = training().train()
    program = export(module, IMAGE)
    module[1].momentum = 0.11
    verdict = check_torch(program, export(module, IMAGE), VerifyOptions(samples=1))
    assert any("running_mean" in name for name in wrong_outputs(verdict))


def test_a_program_in_training_mode_folds_where_inference_is_assumed():
    program = export(training().train(), IMAGE)
    result = bnfold.fold(program, verify=VerifyOptions(samples=2), assume_inference=True)
    assert result.report.verification.passed
    assert result.report.batch_norms.folded == 2
