"""What is said of a BatchNorm that stays although others could take the inverse."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from bnfold.report.verdicts import what_would_do
from tests.folding import fold, fold_and_compare
from tests.networks import Network

CHANNELS = 4


def _conv(network: Network, source: str, output: str, kernel: int = 1) -> str:
    names = [network.weight(f"{output}.w", CHANNELS, CHANNELS, kernel, kernel), network.weight(f"{output}.b", CHANNELS)]
    return network.node("Conv", [source, *names], output, pads=[kernel // 2] * 4)


def _norm(network: Network, source: str, output: str, scale=(0.7, 1.1, 0.9, 1.3)) -> str:
    network.batch_norm(source, output, CHANNELS)
    for key, values in {"scale": scale, "var": np.ones(CHANNELS), "mean": np.zeros(CHANNELS)}.items():
        network.constant(f"{output}.{key}", np.asarray(values, np.float64))
    return output


def _branch(network: Network, source: str, name: str, **norm) -> str:
    normed = _norm(network, source, name, **norm)
    return _conv(network, network.node("Relu", [normed], f"{name}.ramp"), f"{name}.out")


def _two_norms_of_one_tensor() -> Network:
    network = Network()
    stream = _conv(network, "x", "stream")
    network.node("Add", [_branch(network, stream, "first"), _branch(network, stream, "second")], "y")
    return network


def test_another_norm_that_took_the_stream_is_named():
    folded = fold_and_compare(_two_norms_of_one_tensor().model({"x": [2, CHANNELS, 5, 5]}, ["y"]))
    assert [(entry.node, entry.direction) for entry in folded.folds] == [("first_node", "across")]
    (kept,) = folded.kept
    last = kept.refusals[-1]
    assert (last.reason, last.way, last.path) == (
        Reason.SHIFT_CANNOT_PASS,
        "across",
        ("second_node", "first.ramp_node"),
    )
    assert last.evidence.endswith("; 'first_node' has folded across it")
    assert kept.would_do == "Add"
    assert fold(folded.original, lower="add").batch_norms_left == 0


def test_a_ramp_that_no_norm_has_crossed_names_none():
    network = Network()
    stream = network.node("Relu", [_conv(network, "x", "c")], "stream")
    network.node("Add", [_branch(network, stream, "n"), stream], "y")
    (kept,) = fold(network.model({"x": [2, CHANNELS, 5, 5]}, ["y"])).kept
    assert "has folded" not in kept.refusals[-1].evidence
    assert kept.refusals[-1].reason is Reason.SHIFT_CANNOT_PASS


# A MaxPool in front and a Relu behind hold the sign, and the shift goes in front; behind a Relu no shift goes in front.
@pytest.mark.parametrize(
    ("scale", "expected"),
    [((0.7, -1.1, 0.9, 1.3), "Mul"), ((0.7, 1.1, 0.9, 1.3), "Add"), ((0.7, -1.1, 0.9, 1.3), None)],
    ids=["Mul", "Add", "both are needed"],
)
def test_what_would_do_in_its_place(scale, expected):
    network = Network()
    made = _conv(network, "x", "c")
    if expected == "Mul":
        stream = network.node("MaxPool", [made], "stream", kernel_shape=[2, 2])
    else:
        stream = network.node("Relu", [made], "stream")
    ends = [_branch(network, stream, "n", scale=scale), _conv(network, stream, "other")]
    network.node("Add", ends, "y")
    model = network.model({"x": [2, CHANNELS, 5, 5]}, ["y"])
    (kept,) = fold_and_compare(model).kept
    assert kept.would_do == expected
    assert (fold(model, lower="add").batch_norms_left == 0) == (expected == "Add")
    assert fold(model, across=False).kept[0].would_do is None


def test_what_would_do_in_words():
    kept = fold(_two_norms_of_one_tensor().model({"x": [2, CHANNELS, 5, 5]}, ["y"])).kept[0]
    none = type(kept)(kept.node, kept.op, True, kept.refusals)
    mul = type(kept)(kept.node, kept.op, True, kept.refusals, would_do="Mul")
    assert what_would_do([kept, kept]) == "one Add (lower='add')"
    assert what_would_do([kept, none, mul]) == "one Add (lower='add') for 1 of them, one Mul for 1 of them"
