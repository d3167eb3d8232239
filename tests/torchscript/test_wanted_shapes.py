"""Scripts are folded and checked without options where their weights say what to feed; no fold rests on a guess."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import Tensor, nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from bnfold.frontends.torchscript.inputs import wanted_shapes  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import assert_same, compiled, deprecations_silenced  # noqa: E402


class Convolutions(nn.Module):
    """Two branches of their own channels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4))


class OfTuple(Convolutions):
    def forward(self, pair: tuple[Tensor, Tensor]):
        return self.first(pair[0]) + self.second(pair[1])


class OfDict(Convolutions):
    def forward(self, inputs: dict[str, Tensor]):
        return self.first(inputs["image"]) + self.second(inputs["depth"])


class OfNested(Convolutions):
    def forward(self, inputs: dict[str, tuple[Tensor, Tensor]]):
        image, depth = inputs["views"]
        return self.first(image) + self.second(depth)


class OfList(Convolutions):
    """Images without a batch axis, as many as there are."""

    def forward(self, images: list[Tensor]):
        out = torch.zeros(1)
        for image in images:
            out = out + self.first(image.unsqueeze(0)).sum()
        return out


class Stacked(Convolutions):
    def forward(self, images: list[Tensor]):
        return self.first(torch.stack(images))


class ChannelsLast(Convolutions):
    def forward(self, image: Tensor):
        return self.first(image.permute(0, 3, 1, 2))


class Normalised(Convolutions):
    def forward(self, image: Tensor):
        return self.first((image - 0.5) / 0.2)


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.ConvTranspose1d(6, 4, 3, groups=2), nn.BatchNorm1d(4)

    def forward(self, x: Tensor):
        y = self.conv(x)
        if y.dim() != 3:
            raise ValueError("a series has three axes")
        return self.norm(y)


class Unbatched(nn.Module):
    """Runs on (N, 4, H, W), and on (4, 4, W) as well, where the BatchNorm's channels are another axis."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.register_buffer("mean", torch.tensor([3.0, -2, 0.5, 1]))
        self.register_buffer("variance", torch.tensor([0.1, 4, 1, 9]))

    def forward(self, x: Tensor):
        return nn.functional.batch_norm(self.conv(x), self.mean, self.variance)


class Weightless(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor, how_many: int):
        return self.norm(x)[:how_many]


class Impossible(Convolutions):
    """Nothing has this many rows."""

    def forward(self, image: Tensor):
        return self.first(image.view(1, 3, 41, 43))


def scripted(network):
    torch.manual_seed(0)
    return compiled(randomised(network), "scripted")


@pytest.mark.parametrize(
    ("network", "folded", "told"),
    [
        (OfTuple, 2, "pair.0 was fed as (1, 3, 32, 32); pair.1 was fed as (1, 5, 32, 32): give shapes"),
        (OfDict, 2, "inputs.image was fed as (1, 3, 32, 32); inputs.depth was fed as (1, 5, 32, 32): give shapes"),
        (
            OfNested,
            2,
            "inputs.views.0 was fed as (1, 3, 32, 32); inputs.views.1 was fed as (1, 5, 32, 32): give shapes",
        ),
        (OfList, 1, "images.0 was fed as (3, 32, 32); images.1 was fed as (3, 32, 32): give shapes"),
        (Stacked, 1, "images.0 was fed as (3, 32, 32); images.1 was fed as (3, 32, 32): give shapes"),
        (ChannelsLast, 1, "image was fed as (1, 32, 32, 3): give shapes"),
        (Normalised, 1, "image was fed as (1, 3, 32, 32): give shapes to choose"),
        (Series, 1, "x was fed as (1, 6, 32): give shapes"),
    ],
)
def test_a_script_whose_convolutions_say_its_inputs_folds_without_options(network, folded, told):
    report = bnfold.fold(scripted(network())).report
    assert report.verification.status == "passed"
    assert report.batch_norms.folded == folded
    assert report.warnings == (told.removesuffix(" to choose") + " to choose",)


def test_a_rank_that_was_guessed_is_not_folded_on():
    """What is right for a matrix is wrong for a batch of sequences as long as there are features."""
    module = scripted(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    result = bnfold.fold(module)
    assert (result.report.batch_norms.folded, result.report.verification.status) == (0, "passed")
    assert "a rank that nothing fixes" in result.report.warnings[0]
    assert_same(module, result.model, torch.randn(2, 4, 4))


def test_a_convolution_that_takes_two_ranks_is_not_folded_on_one():
    module = scripted(Unbatched())
    result = bnfold.fold(module)
    assert (result.report.batch_norms.folded, result.report.verification.status) == (0, "passed")
    assert_same(module, result.model, torch.randn(4, 4, 7))


def test_a_tensor_that_is_added_may_bring_the_axes():
    class Broadcast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.register_buffer("offset", torch.ones(1, 4, 1, 1))

        def forward(self, x: Tensor):
            return self.conv(x + self.offset)

    (wanted,) = wanted_shapes(compiled(Broadcast(), "traced", torch.randn(4, 5, 5)))
    assert not wanted.is_certain


def test_a_list_of_numbers_and_a_table():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(8, 6), nn.Linear(6, 3)

        def forward(self, words: list[Tensor]):
            return self.head(self.table(words[0])) + self.head(self.table(words[1]))

    report = bnfold.fold(scripted(Words())).report
    assert report.warnings == () or "words.0 was fed as" in report.warnings[0]


@pytest.mark.parametrize("network", [Weightless, Impossible])
def test_a_script_that_says_nothing_asks_for_shapes_in_one_line(network, tmp_path, capsys):
    source = tmp_path / "m.pt"
    with deprecations_silenced():
        torch.jit.save(scripted(network()), source)
    assert main([str(source), "-o", str(tmp_path / "out.pt")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "give them, like --shape " in errors
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


def test_axes_are_carried_back_to_the_leaf():
    class Moved(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 4, 3)

        def forward(self, frames: Tensor, parts: tuple[Tensor, Tensor]):
            return self.conv(frames.transpose(1, 3)[0].unsqueeze(0)), self.conv(torch.cat(parts, 1))

    frames, *parts = wanted_shapes(compiled(Moved(), "scripted"))
    assert frames.leaf == "frames"
    assert [(part.leaf, part.shapes[0]) for part in parts] == [
        (f"parts.{at}", ("batch", 3, "free", "free")) for at in (0, 1)
    ]
