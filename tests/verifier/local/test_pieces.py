"""Wide parts, some channels at a time: which are cut, where, and that every fault is found in its channel."""

import numpy as np
import pytest

import bnfold
from bnfold.intake.tensor_names import rename_tensors
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.local import pieces
from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.local.pieces import cut_alike
from bnfold.verifier.models.changed import find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from tests.networks import Network
from tests.verifier.spoiling import spoiled

_CHANNELS = 6


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "MOST_NUMBERS", 20)


def convolution(**attributes):
    net = Network(seed=11)
    net.node("Conv", ["x", net.weight("w", _CHANNELS, 4 // attributes.get("group", 1), 3, 3)], "c", **attributes)
    net.batch_norm("c", "n", _CHANNELS)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 8, 8]}, ["y"])


def gemm(*, turned):
    net = Network(seed=12)
    weight = net.weight("w", *((_CHANNELS, 8) if turned else (8, _CHANNELS)))
    net.node("Gemm", ["x", weight, net.weight("b", _CHANNELS)], "c", transB=int(turned))
    net.batch_norm("c", "n", _CHANNELS)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [3, 8]}, ["y"])


def tokens():
    net = Network(seed=13)
    net.node("MatMul", ["x", net.weight("w", 8, _CHANNELS)], "c")
    net.node("Mul", ["c", net.weight("scale", _CHANNELS)], "s")
    net.node("Add", ["s", net.weight("shift", 1, 1, _CHANNELS)], "n")
    net.node("Relu", ["n"], "y")
    return net.model({"x": [2, 5, 8]}, ["y"])


def point():
    net = Network(seed=14)
    net.node("Relu", ["x"], "r")
    net.node("Conv", ["r", net.weight("w", _CHANNELS, _CHANNELS, 1, 1)], "c")
    net.batch_norm("c", "b", _CHANNELS)
    net.node("Relu", ["b"], "y")
    return net.model({"x": [1, _CHANNELS, 5, 5]}, ["y"])


def branches():
    net = Network(seed=17)
    ends = [
        net.node("Conv", ["x", net.weight(f"w{size}", _CHANNELS, 4, size, size)], f"c{size}", pads=[size // 2] * 4)
        for size in (1, 3)
    ]
    net.batch_norm(net.node("Add", ends, "s"), "n", _CHANNELS)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 8, 8]}, ["y"])


def residual(channels):
    """What is added to the BatchNorm's output begins the part as well, if that has no name that both models have."""
    net = Network(seed=18)
    net.node("Conv", ["x", net.weight("w", _CHANNELS, 4, 3, 3)], "c", pads=[1] * 4)
    net.batch_norm("c", "b", _CHANNELS)
    net.node("Add", ["b", "z"], "n")
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 8, 8], "z": [1, channels, 8, 8]}, ["y"])


NETWORKS = {
    "convolution": convolution(),
    "padded": convolution(pads=[1] * 4, strides=[2, 2]),
    "gemm": gemm(turned=False),
    "turned gemm": gemm(turned=True),
    "tokens": tokens(),
    "point": point(),
    "branches": branches(),
}


def parts_of(original, new, tensor=None):
    ours, theirs = (Structure(Model(role, proto)) for role, proto in (("the original", original), ("new", new)))
    (changed,) = (found for found in find_changed_tensors(ours, theirs) if tensor in (None, found.name))
    parts = Float64Subgraph(ours, changed.original, changed.name), Float64Subgraph(theirs, changed.new, changed.name)
    shapes = [[size.dim_value for size in entry.type.tensor_type.shape.dim] for entry in original.graph.input]
    return parts, dict(zip(changed.boundary, shapes, strict=True))


def folded(original):
    return bnfold.fold(original, verify=None).model


def weight_of_contraction(model):
    node = next(node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_cut_makes_the_channels_that_the_whole_makes(name):
    parts, shapes = parts_of(NETWORKS[name], folded(NETWORKS[name]))
    cuts = cut_alike(parts, shapes)
    assert cuts is not None
    assert {cut.size for cut in cuts} == {_CHANNELS}
    begin = {key: np.random.default_rng(0).normal(size=shape) for key, shape in shapes.items()}
    for part, cut in zip(parts, cuts, strict=True):
        stored = {key: wide(array) for key, array in part.stored.items()}
        whole = part.run(begin, stored)
        places = list(pieces.pieces(parts, _CHANNELS))
        assert len(places) > 1
        made = [
            part.run(
                dict(zip(begin, cut.of(begin, piece), strict=True)),
                dict(zip(stored, cut.of(stored, piece), strict=True)),
            )
            for piece in places
        ]
        np.testing.assert_allclose(np.concatenate(made, axis=cut.axis), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [_CHANNELS, 1])
def test_what_is_added_is_cut_as_well(channels):
    original = residual(channels)
    (ours, theirs) = cut_alike(*parts_of(original, without_a_name_in_between(folded(original)), "n"))
    assert ours.axes.get("z") == theirs.axes.get("z") == (None if channels == 1 else 1)
    assert not {"x"} & (ours.axes.keys() | theirs.axes.keys())
    new = without_a_name_in_between(folded(original))

    def by_a_percent(weight):
        weight[4] *= 1.01

    wrong = spoiled(new, weight_of_contraction, by_a_percent)
    both = (check(original.SerializeToString(), model.SerializeToString(), VerifyOptions()) for model in (new, wrong))
    assert [verdict.passed for verdict in both] == [True, False]


@pytest.mark.parametrize("channel", range(1, _CHANNELS))  # the first one is dead
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fault_is_found_in_its_channel(name, channel):
    new = folded(NETWORKS[name])

    def by_a_percent(weight):
        axis = weight.shape.index(_CHANNELS)
        weight[(*[slice(None)] * axis, channel)] *= 1.01

    verdict = check(
        NETWORKS[name].SerializeToString(),
        spoiled(new, weight_of_contraction, by_a_percent).SerializeToString(),
        VerifyOptions(),
    )
    (tensor,) = verdict.tensors
    assert not tensor.passed
    if name != "tokens":  # whose second axis counts as channels as well
        assert f"channel {channel} " in tensor.problem
        assert tensor.channel == channel


@pytest.mark.parametrize("name", NETWORKS)
def test_a_correct_fold_passes_in_pieces(name):
    verdict = check(NETWORKS[name].SerializeToString(), folded(NETWORKS[name]).SerializeToString(), VerifyOptions())
    assert verdict.passed
    assert all(tensor.excess < 1 for tensor in verdict.tensors)


def test_two_channels_that_were_exchanged_lie_in_two_pieces():
    def exchange(weight):
        weight[[0, 5]] = weight[[5, 0]]

    wrong = spoiled(folded(convolution()), weight_of_contraction, exchange)
    assert not check(convolution().SerializeToString(), wrong.SerializeToString(), VerifyOptions()).passed


@pytest.mark.parametrize(("shape", "scale"), [([32], [32]), ([3, 8], [1, 3, 8]), ([2, 3, 8], [8])], ids=str)
def test_arithmetic_on_any_number_of_axes(shape, scale):
    net = Network(seed=19)
    last = "x"
    for number in range(4):
        last = net.node("Mul", [last, net.weight(f"m{number}", *scale)], f"s{number}")
    net.node("Relu", [last], "y")
    original = net.model({"x": shape}, ["y"])
    for factor, passes in ((1, True), (1.01, False)):

        def change(values, factor=factor):
            values[..., -1] *= factor

        new = spoiled(original, lambda model: model.graph.initializer[1], change)
        assert check(original.SerializeToString(), new.SerializeToString(), VerifyOptions()).passed is passes


@pytest.mark.parametrize("reason", ["groups", "small", "large in front", "computed"])
def test_what_is_not_cut(reason, monkeypatch):
    original = convolution(group=2) if reason == "groups" else convolution()
    if reason == "small":
        monkeypatch.setattr(pieces, "MOST_NUMBERS", 10**4)
    if reason == "large in front":
        original = in_a_row()
        assert cut_alike(*parts_of(original, without_a_name_in_between(folded(original)), "n")) is None
        return
    if reason == "computed":
        original = computed()
    assert cut_alike(*parts_of(original, folded(original))) is None
    assert check(original.SerializeToString(), folded(original).SerializeToString(), VerifyOptions()).passed


def in_a_row():
    """Two convolutions without a name between them that both models have: the first one is needed whole every time."""
    net = Network(seed=15)
    net.node("Conv", ["x", net.weight("v", 4, 4, 3, 3)], "a")
    net.batch_norm("a", "b", 4)
    net.node("Conv", ["b", net.weight("w", _CHANNELS, 4, 1, 1)], "n")
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 8, 8]}, ["y"])


def without_a_name_in_between(model):
    rename_tensors(model.graph, {"b": "another"})
    return model


def computed():
    net = Network(seed=16)
    net.node("Mul", [net.weight("v", _CHANNELS, 4, 3, 3), net.weight("g", _CHANNELS, 1, 1, 1)], "w")
    net.node("Conv", ["x", "w"], "c")
    net.batch_norm("c", "n", _CHANNELS)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 8, 8]}, ["y"])
