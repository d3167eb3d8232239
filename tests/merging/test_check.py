"""The check sees a wrong merge, and what to drop for it."""

from dataclasses import replace

import numpy as np
import pytest

import bnfold
from bnfold.errors import VerificationError
from bnfold.refusal import Reason
from bnfold.rules import merge_branches
from bnfold.weight import Weight
from tests.merging.test_onnx import IMAGE, conv, rep_vgg
from tests.networks import Network


def two_blocks():
    network = Network()
    rep_vgg(network, "x", "a", 4)
    network.node("Relu", ["a"], "a.relu")
    conv(network, "a.relu", "b.wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Add", ["b.wide", "a.relu"], "y")
    return network.model(IMAGE, ["y"])


def spoil(monkeypatch, change):
    """Let merging of three branches give another weight."""

    def wrong(parts):
        right = merge_branches(parts)
        weight = right.weight.array.copy()
        change(weight)
        return replace(right, weight=Weight(weight)) if len(parts) == 3 else right

    monkeypatch.setattr("bnfold.merging.choice.merge_branches", wrong)


def one_tap(weight):
    weight[0, 1, 2, 1, 1] *= 1 + 1e-4


def moved_by_one_place(weight):
    weight[...] = np.roll(weight, 1, axis=-1)


def a_channel_too_large(weight):
    weight[0, 2] *= 1 + 3e-5


SPOILED = pytest.mark.parametrize("change", [one_tap, moved_by_one_place, a_channel_too_large])


def test_right_merges_pass():
    report = bnfold.fold(two_blocks()).report
    assert report.verification.status == "passed"
    assert len(report.outcome.merges) == 2


@SPOILED
def test_a_wrong_merge_fails(monkeypatch, change):
    spoil(monkeypatch, change)
    with pytest.raises(VerificationError):
        bnfold.fold(two_blocks())


@SPOILED
def test_a_wrong_merge_is_dropped_alone(monkeypatch, change):
    spoil(monkeypatch, change)
    outcome = bnfold.fold(two_blocks(), on_mismatch="revert").report.outcome
    assert "y_node" in [merge.node for merge in outcome.merges]
    dropped = [entry.node for entry in outcome.apart if entry.refusals[0].reason is Reason.REVERTED]
    assert dropped == ["a_node"]
