"""Lowering through the doors: options, the file, the check, the report, the command."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

import bnfold
from bnfold.cli.main import main
from bnfold.errors import UsageError, VerificationError
from tests.folding import count
from tests.networks import Network


def model():
    network = Network()
    network.batch_norm(network.node("Sigmoid", ["x"], "s"), "n", 6)
    network.batch_norm(network.node("Relu", ["n"], "r"), "y", 6)
    return network.model({"x": [2, 6, 8, 8]}, ["y"])


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "m.onnx"
    onnx.save(model(), place)
    return place


@pytest.mark.parametrize("form", ["conv", "affine"])
def test_a_file_is_lowered_and_checked_and_lowered_no_more(path, tmp_path, form):
    target, again = tmp_path / "a.onnx", tmp_path / "b.onnx"
    report = bnfold.fold_file(path, target, bnfold.FoldOptions(lower=form))
    assert report.verification.passed
    assert len(report.verification.tensors) == 2
    tally = report.batch_norms
    assert (tally.found, tally.folded, tally.kept, tally.lowered) == (2, 0, 0, 2)
    assert count(onnx.load(target), "BatchNormalization") == 0
    for lower in ("", form):
        assert bnfold.fold_file(target, again, bnfold.FoldOptions(lower=lower)).verification.identical
        assert again.read_bytes() == target.read_bytes()


def test_an_unknown_form_is_refused_at_once():
    with pytest.raises(UsageError, match="lower must be 'conv', 'affine', 'add' or nothing, got 'relu'"):
        bnfold.FoldOptions(lower="relu")


def test_the_command_counts_lowered_ones_as_gone(path, tmp_path, capsys):
    options = [str(path), "-o", str(tmp_path / "a.onnx"), "--fail-on-kept"]
    assert main(options) == 4
    assert main([*options, "--lower", "add"]) == 4
    assert "2 BatchNorms could not be: " in capsys.readouterr().out
    assert main([*options, "--lower", "conv", "--report", str(tmp_path / "r.json")]) == 0
    assert "Lowered       2 BatchNorms to Conv\n" in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / "r.json").read_text())["models"]
    assert [node["operators"] for node in entry["lowered"]] == [["Conv"], ["Conv"]]
    assert entry["batch_norms"] == {"found": 2, "folded": 0, "kept": 0, "identities": 0, "lowered": 2}


def function_model():
    """A BatchNorm in a function, where no rank is known, beside one that only folds if another function is inlined."""
    network = Network()
    parameters = ["scale", "bias", "mean", "var"]
    values = {"scale": (0.5, 2), "bias": (-1, 1), "mean": (-1, 1), "var": (0.5, 2)}
    for name in parameters:
        network.constant(name, network.random.uniform(*values[name], 6))
    opset = [helper.make_opsetid("", 17)]
    norm = helper.make_node("BatchNormalization", ["a", *parameters], ["b"], name="inner")
    functions = [helper.make_function("pkg", "Norm", ["a", *parameters], ["b"], [norm], opset)]
    weight = network.weight("w", 6, 6, 1, 1)
    convolution = helper.make_node("Conv", ["a", "w"], ["b"])
    functions.append(helper.make_function("pkg", "Convolve", ["a", "w"], ["b"], [convolution], opset))
    network.node("Norm", ["x", *parameters], "n", domain="pkg")
    network.node("Convolve", [network.node("Sigmoid", ["n"], "s"), weight], "c", domain="pkg")
    network.batch_norm("c", "y", 6)
    shape = [2, 6, 8, 8]
    return network.model({"x": shape}, {"y": shape}, functions=functions, domains={"pkg": 1}, check=False)


def test_functions_are_inlined_to_fold_first_and_to_lower_then():
    made = function_model()
    plain = bnfold.fold(made)
    assert (plain.report.batch_norms.folded, plain.report.batch_norms.kept) == (1, 1)
    result = bnfold.fold(made, lower="conv")
    assert (result.report.batch_norms.folded, result.report.batch_norms.lowered) == (1, 1)
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "Sigmoid", "Conv"]


def test_what_fails_the_check_is_dropped(monkeypatch):
    """A lowered BatchNorm is guilty like a fold is."""
    from bnfold import rules
    from bnfold.semantics import AffineMap

    right = rules.lower_to_arithmetic

    def wrong(node: AffineMap):
        scale, shift = right(node)
        return (scale, shift) if node.affine.scale.flat[0] > 0 else (scale,)

    monkeypatch.setattr(rules, "lower_to_arithmetic", wrong)
    network = Network()
    for output, first in (("n", 1.0), ("y", -1.0)):
        values = {"scale": np.full(6, first), "bias": np.ones(6), "mean": np.zeros(6), "var": np.ones(6)}
        names = [network.constant(f"{output}.{key}", value) for key, value in values.items()]
        network.node("BatchNormalization", ["x" if output == "n" else "s", *names], output)
        if output == "n":
            network.node("Sigmoid", ["n"], "s")
    made = network.model({"x": [2, 6, 8, 8]}, ["y"])
    with pytest.raises(VerificationError):
        bnfold.fold(made, lower="affine")
    report = bnfold.fold(made, lower="affine", on_mismatch="revert").report
    assert [entry.node for entry in report.outcome.lowered] == ["n_node"]
    assert [entry.refusals[0].reason.slug for entry in report.outcome.kept if entry.is_batch_norm] == ["reverted"]
