"""Folds that fail the check are found by bisection and dropped; the rest stays."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import VerificationError
from bnfold.frontends.onnx.operators import convolutions
from bnfold.outcome import Fold, Kept, Outcome
from bnfold.refusal import Reason, Refusal
from bnfold.reverting import Attempt, fold_what_holds
from bnfold.verification import TensorCheck, Verification
from tests.networks import Network

LABELS = [f"bn{number}" for number in range(9)]


class Pretender:
    """Folds nine nodes, of which some are wrong; the check blames whom it is told to."""

    def __init__(self, wrong, blamed=()):
        self.wrong, self.blamed, self.calls = set(wrong), blamed, 0

    def __call__(self, without):
        self.calls += 1
        folds = tuple(fold(label) for number, label in enumerate(LABELS) if number not in without)
        kept = tuple(
            Kept(label, "BatchNormalization", True, (EXCLUDED,), number)
            for number, label in enumerate(LABELS)
            if number in without
        )
        failed = bool(self.wrong & {entry.node for entry in folds})
        tensors = tuple(
            TensorCheck(label, frozenset(), 0.1, 0, passed=label not in self.wrong) for label in self.blamed
        )
        verdict = Verification("failed" if failed else "passed", 1, 0, tensors=tensors, problem="bad" if failed else "")
        return Attempt(Outcome(folds, kept), verdict, len(folds))


EXCLUDED = Refusal(Reason.EXCLUDED, "excluded")


def fold(label):
    return Fold(label, "BatchNormalization", True, label, "upstream", ("conv",), (), 1.0, number=LABELS.index(label))


@pytest.mark.parametrize("wrong", [[], ["bn0"], ["bn4"], ["bn8"], ["bn1", "bn7"], ["bn2", "bn3", "bn4"], LABELS])
def test_exactly_the_guilty_are_dropped(wrong):
    found = fold_what_holds(Pretender(wrong))
    assert found.verdict.passed
    assert found.result == len(LABELS) - len(wrong)
    assert [kept.node for kept in found.outcome.kept] == wrong
    for kept in found.outcome.kept:
        (refusal,) = kept.refusals
        assert (refusal.reason, refusal.evidence) == (Reason.REVERTED, "with it, the check failed: bad")


def test_a_blamed_fold_is_tried_first():
    blamed, blind = Pretender(["bn5"], blamed=["bn5"]), Pretender(["bn5"])
    fold_what_holds(blamed)
    fold_what_holds(blind)
    assert blamed.calls == 2 < blind.calls


def test_what_fails_without_any_fold_stays_failed():
    def hopeless(without):
        attempt = Pretender([])(without)
        return Attempt(attempt.outcome, Verification("failed", 1, 0, problem="broken"), attempt.result)

    found = fold_what_holds(hopeless)
    assert found.verdict.status == "failed"
    assert not found.outcome.folds


@pytest.fixture
def second_bias_is_wrong(monkeypatch):
    """An encoder that spoils what it writes for conv2."""
    right = convolutions.bias_for

    def wrong(context, bias, **how):
        if bias is not None and context.node.label == "c2_node":
            bias = bias * np.where(np.arange(bias.size) == 1, 1.01, 1).reshape(bias.shape)
        return right(context, bias, **how)

    monkeypatch.setattr(convolutions, "bias_for", wrong)


def network():
    net = Network()
    source = "x"
    for number in (1, 2, 3):
        net.node("Conv", [source, net.weight(f"w{number}", 4, 4, 3, 3)], f"c{number}")
        net.batch_norm(f"c{number}", f"n{number}", 4)
        source = net.node("Relu", [f"n{number}"], f"r{number}")
    return net.model({"x": [1, 4, 12, 12]}, [source])


@pytest.mark.usefixtures("second_bias_is_wrong")
def test_by_default_a_wrong_fold_fails_and_says_where():
    with pytest.raises(VerificationError, match=r"tensor 'n2': channel 1 ") as error:
        bnfold.fold(network())
    assert [tensor.passed for tensor in error.value.report.verification.tensors] == [True, False, True]


@pytest.mark.usefixtures("second_bias_is_wrong")
def test_revert_drops_the_wrong_fold_alone(tmp_path):
    result = bnfold.fold(network(), on_mismatch="revert")
    assert result.report.batch_norms.folded == 2
    (kept,) = result.report.outcome.kept
    assert kept.node == "n2_node"
    assert kept.refusals[0].reason is Reason.REVERTED
    assert "tensor 'n2': channel 1 " in kept.refusals[0].evidence
    assert result.report.verification.passed
    assert bnfold.verify(network(), result.model).passed
    onnx.save(network(), tmp_path / "m.onnx")
    options = bnfold.FoldOptions(on_mismatch="revert")
    report = bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "out.onnx", options)
    assert [entry.node for entry in report.outcome.kept] == ["n2_node"]
    assert onnx.load(tmp_path / "out.onnx") == result.model


@pytest.mark.usefixtures("second_bias_is_wrong")
def test_of_two_nodes_that_are_called_alike_only_the_guilty_one_is_dropped():
    """A node without a name is called like its output, and another one may bear that name."""
    model = network()
    first, second, _ = (node for node in model.graph.node if node.op_type == "BatchNormalization")
    first.name, second.name = second.output[0], ""
    result = bnfold.fold(model, on_mismatch="revert")
    assert result.report.batch_norms.folded == 2
    assert [kept.number for kept in result.report.outcome.kept] == [4]
    left = [node for node in result.model.graph.node if node.op_type == "BatchNormalization"]
    assert [node.output[0] for node in left] == ["n2"]


@pytest.mark.usefixtures("second_bias_is_wrong")
def test_a_dropped_fold_of_another_affine_node_is_reported_as_well():
    net = Network()
    convolved = net.node("Conv", ["x", net.weight("w2", 4, 4, 3, 3)], "c2")
    added = net.node("Add", [convolved, net.constant("shift", np.arange(1.0, 5.0).reshape(1, 4, 1, 1))], "a2")
    result = bnfold.fold(net.model({"x": [1, 4, 12, 12]}, [added]), on_mismatch="revert")
    assert result.report.verification.passed
    (kept,) = result.report.outcome.kept
    assert (kept.node, kept.refusals[0].reason) == ("a2_node", Reason.REVERTED)
