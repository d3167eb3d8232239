"""Programs of PyTorch whose BatchNorms read a stream that others read, too, in every form."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.torch_modules import assert_same_calls  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

SHAPE = (2, 3, 4, 4)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv(torch.relu(self.norm(x)))


class Stream(nn.Module):
    def __init__(self, blocks, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(blocks)])
        self.last = nn.BatchNorm2d(channels)
        self.head = nn.Conv2d(channels, 4, 1)

    def forward(self, x):
        return self.head(torch.relu(self.last(self.blocks(self.stem(x)))))


def network(blocks=2, **changes):
    torch.manual_seed(0)
    model = Stream(blocks).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            for channel, value in changes.get("weight", {}).items():
                module.weight.data[channel] = value
    return model


FORMS = {
    "traced": lambda model, x: torch.jit.trace(model, x),
    "scripted": lambda model, _: torch.jit.script(model),
    "exported": lambda model, x: torch.export.export(model, (x,)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("changes", "kept"), [({}, 0), ({1: -1.0}, 0), ({0: 0.0}, 2)], ids=["plain", "signs", "zeros"])
def test_a_stream_of_pre_activation_blocks(form, changes, kept):
    with torch.no_grad():
        model, x = network(weight=changes), torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
        options = {} if form == "exported" else {"verify": VerifyOptions(shapes={"x": SHAPE})}
        result = bnfold.fold(FORMS[form](model, x), **options)
        folded = result.model.module() if form == "exported" else result.model
        assert_same_calls(model, [folded], [x])
    assert result.report.verification.status == "passed"
    assert "across" in {fold.direction for fold in result.report.outcome.folds}
    assert sum(entry.is_batch_norm for entry in result.report.outcome.kept) <= kept


class DualPath(nn.Module):
    """Slices of one tensor: TorchScript writes a slice of each axis, the first of the whole batch."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 7, 3, padding=1), nn.BatchNorm2d(7)
        self.conv, self.head = nn.Conv2d(7, 7, 3, padding=1), nn.Conv2d(10, 4, 1)

    def forward(self, x):
        stem = self.stem(x)
        residual, dense = stem[:, :4, :, :], stem[:, 4:, :, :]
        made = self.conv(torch.relu(self.norm(torch.cat([residual, dense], 1))))
        return self.head(torch.cat([residual + made[:, :4, :, :], dense, made[:, 4:, :, :]], 1))


@pytest.mark.parametrize("form", FORMS)
def test_slices_of_one_tensor_answer_together_in_every_form(form):
    torch.manual_seed(0)
    model = DualPath().eval()
    with torch.no_grad():
        nn.init.uniform_(model.norm.weight, 0.5, 2)
        nn.init.normal_(model.norm.bias)
        model.norm.weight[1], model.norm.weight[5] = -0.7, -1.2
        x = torch.randn(SHAPE)
        given = {} if form == "exported" else {"shapes": {"x": SHAPE}}
        report = bnfold.fold(FORMS[form](model, x), **given).report
    assert [fold.direction for fold in report.outcome.folds] == ["across"]
    assert report.verification.passed


class TwoReaders(nn.Module):
    """A BatchNorm and a Conv read one tensor; the check must not begin one side behind it and the other one before."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.other = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = self.conv(x)
        return torch.pixel_shuffle(self.norm(y), 2), nn.functional.pixel_unshuffle(self.other(y), 2)


@pytest.mark.parametrize("form", FORMS)
def test_what_others_read_is_compared_from_where_both_begin(form):
    torch.manual_seed(0)
    model = TwoReaders().eval()
    with torch.no_grad():
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 2)
        x = torch.randn(SHAPE)
        options = {} if form == "exported" else {"verify": VerifyOptions(shapes={"x": SHAPE})}
        report = bnfold.fold(FORMS[form](model, x), **options).report
    assert [fold.direction for fold in report.outcome.folds] == ["across"]
    assert report.verification.passed
