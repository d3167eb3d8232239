"""Programs whose tensors hold other values than the original's: the check finds the maps, and they excuse nothing."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")

from torch import nn  # noqa: E402

from bnfold.verifier.local.inferred import infer_map  # noqa: E402
from bnfold.verifier.programs.opening import open_program  # noqa: E402
from bnfold.verifier.programs.parts.prove import Prover  # noqa: E402
from tests.faults.programs import compiled  # noqa: E402

CHANNELS, BLOCKS, SHORT = 5, 4, 6
IMAGE = (2, 3, 6, 6)
LITTLE = 1 + 1e-5
WAYS = ("traced", "exported")


class Block(nn.Module):
    """A BatchNorm in front of a block whose result is added to what the BatchNorm has read."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.inner = nn.Conv2d(CHANNELS, 4, 1)
        self.outer = nn.Conv2d(4, CHANNELS, 3, padding=1)

    def forward(self, x):
        return x + self.outer(torch.relu(self.inner(self.norm(x))))


class Stream(nn.Module):
    sample = IMAGE

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(3, CHANNELS, 1)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Conv2d(CHANNELS, 2, 1)
        for norm in (block.norm for block in self.blocks):
            norm.weight.data = torch.rand(CHANNELS) + 0.5
            norm.weight.data[::2] *= -1
            norm.bias.data, norm.running_mean.data = torch.randn(CHANNELS), torch.randn(CHANNELS)
            norm.running_var.data = torch.rand(CHANNELS) + 0.5
        self.eval()

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def folded(original: Stream) -> Stream:
    """Every tensor of the stream holds y = scale * x + shift, what the first BatchNorm makes of x; none is left."""
    new = copy.deepcopy(original).double()
    first, *_ = maps = [affine(block.norm) for block in new.blocks]
    scale, shift = first
    take_up(new.stem, scale, shift)
    for block, (own, more) in zip(new.blocks, maps, strict=True):
        read_by(block.inner, own / scale, more - own * shift / scale)
        take_up(block.outer, scale, torch.zeros(CHANNELS))
        block.norm = nn.Identity()
    read_by(new.head, 1 / scale, -shift / scale)
    return new.float()


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale.detach(), (norm.bias - norm.running_mean * scale).detach()


def take_up(layer: nn.Conv2d, scale: torch.Tensor, shift: torch.Tensor) -> None:
    """Behind the layer."""
    layer.weight.data *= scale.reshape(-1, 1, 1, 1)
    layer.bias.data = layer.bias.data * scale + shift


def read_by(layer: nn.Conv2d, scale: torch.Tensor, shift: torch.Tensor) -> None:
    """In front of the layer, whose kernel has one place."""
    layer.bias.data += (layer.weight.data * shift.reshape(1, -1, 1, 1)).sum((1, 2, 3))
    layer.weight.data *= scale.reshape(1, -1, 1, 1)


@pytest.fixture(scope="module", params=WAYS)
def judge(request):
    original = Stream(0)
    program = open_program("a", compiled(original, request.param))
    graph = program.graph()
    observed = program.observe(graph, [torch.randn(IMAGE, generator=torch.Generator().manual_seed(0))])

    def proof(new: nn.Module):
        return Prover(graph, open_program("b", compiled(new, request.param)).graph(), observed).run()

    return proof


def test_parts_of_a_stream_stay_short_however_long_it_is(judge):
    found = judge(folded(Stream(0)))
    assert not found.unread
    assert all(check.passed for check in found.checks), found.checks
    assert len(found.checks) > BLOCKS
    assert max(len(check.inside) for check in found.checks) <= SHORT


@pytest.mark.parametrize("name", ["stem.weight", "blocks.1.inner.weight", "blocks.2.outer.weight", "head.weight"])
def test_a_number_off_by_little_is_found_where_it_is(judge, name):
    assert_found(judge, name, LITTLE)


def test_a_bias_is_found_where_it_is_off_by_more_than_the_maps_are(judge):
    """Half a unit of the last place of the shift, about 2e-7 here, is what nobody can tell from a fault."""
    assert_found(judge, "blocks.3.outer.bias", 1 + 1e-4)


def assert_found(judge, name: str, factor: float) -> None:
    new = folded(Stream(0))
    numbers = new.state_dict()[name].view(-1)
    numbers[numbers.abs().argmax()] *= factor
    wrong = [check for check in judge(new).checks if not check.passed]
    assert wrong
    assert len(wrong[0].inside) <= SHORT


@pytest.mark.parametrize("channel", [0, 3])
def test_a_map_that_agrees_with_a_fault_excuses_nothing(judge, channel):
    """A whole channel of the stem is off, and so is the map that is found of it; the readers tell."""
    new = folded(Stream(0))
    new.stem.weight.data[channel] *= LITTLE
    new.stem.bias.data[channel] *= LITTLE
    assert not all(check.passed for check in judge(new).checks)


def test_a_reader_without_its_inverse(judge):
    new = folded(Stream(0))
    new.blocks[2].inner.weight.data[:, 2] *= -1
    assert not all(check.passed for check in judge(new).checks)


def together(random: np.ndarray, zeros: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return random, np.broadcast_to(zeros, random.shape)


X = together(np.random.default_rng(0).standard_normal((4, 3, 2, 2)), np.array([1.0, 2, 3]).reshape(1, 3, 1, 1))


def test_a_map_is_read_off_channel_by_channel():
    scale, shift = (np.array(numbers).reshape(1, 3, 1, 1) for numbers in ([2.0, -1, 0.25], [3.0, 0, -5]))
    found = infer_map(X, ((X[0] - shift) / scale, (X[1] - shift) / scale))
    np.testing.assert_allclose(found.map.scale, scale, rtol=1e-12)
    np.testing.assert_allclose(found.map.shift, shift, rtol=1e-12, atol=1e-12)


def test_of_tokens_along_the_last_axis():
    x = together(np.random.default_rng(0).standard_normal((4, 3, 2)), np.ones(2))
    found = infer_map(x, (x[0] * [2, 4], x[1] * [2, 4]))
    np.testing.assert_allclose(found.map.scale, [[[0.5, 0.25]]], rtol=1e-12)


def test_where_the_original_holds_a_constant_the_new_one_is_free():
    x = together(np.array([[1.0, 7.0], [2.0, 7.0]]), np.array([0.0, 7.0]))
    found = infer_map(x, together(np.array([[1.0, 4.0], [2.0, 5.0]]), np.array([0.0, 6.0])))
    np.testing.assert_array_equal(found.map.scale, [[1, 0]])
    np.testing.assert_array_equal(found.map.shift, [[0, 7]])


def test_a_constant_that_is_another_one_at_every_place_is_lost():
    """As zeros around an image make it, where the new model has forgotten the channel."""
    edge = np.where(np.arange(3) == 0, 2.0, 5.0)
    x = np.stack([np.random.default_rng(0).standard_normal((4, 3)), np.broadcast_to(edge, (4, 3))], axis=1)
    resting = np.stack([np.zeros((4, 3)), np.broadcast_to(edge, (4, 3))], axis=1)
    y = np.stack([2 * x[:, 0], np.zeros((4, 3))], axis=1), np.zeros((4, 2, 3))
    found = infer_map((x, resting), y)
    np.testing.assert_array_equal(found.is_lost, [[[False], [True]]])
    np.testing.assert_array_equal(found.fixed, [[[np.nan], [0]]])


def test_what_is_constant_in_both_is_held_to_these_constants():
    x = together(np.array([[1.0, 7.0], [2.0, 7.0]]), np.array([0.0, 7.0]))
    found = infer_map(x, together(np.array([[2.0, 4.0], [4.0, 4.0]]), np.array([0.0, 4.0])))
    np.testing.assert_array_equal(found.fixed, [[np.nan, 4]])
    np.testing.assert_array_equal(found.map.original(np.array([[3.0, 4.0]])), [[1.5, 7]])


@pytest.mark.parametrize(
    "y",
    [(X[0] ** 3, X[1] ** 3), (np.ones_like(X[0]), np.ones_like(X[0])), (X[0][:2], X[1][:2]), (X[0] * np.nan, X[1])],
    ids=["cubed", "constant", "shorter", "nan"],
)
def test_no_map(y):
    assert infer_map(X, y) is None
