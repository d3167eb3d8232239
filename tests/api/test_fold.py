"""bnfold.fold, explain, verify: kinds of models, options, and that the argument stays as it is."""

import glob

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import BnfoldError, UsageError, VerificationError
from bnfold.verifier import VerifyOptions
from tests.api.conftest import SHAPE
from tests.api.folders import save, snapshot
from tests.folding import assert_equal_outputs, count
from tests.networks import Network


def test_a_model_proto(model):
    before = model.SerializeToString()
    result = bnfold.fold(model)
    assert isinstance(result.model, onnx.ModelProto)
    assert model.SerializeToString() == before
    assert count(result.model, "BatchNormalization") == 1
    assert_equal_outputs(model, result.model)


def test_the_report_of_a_fold(model):
    report = bnfold.fold(model).report
    assert (report.batch_norms.found, report.batch_norms.folded, report.batch_norms.kept) == (2, 1, 1)
    assert (report.nodes.before, report.nodes.after) == (4, 3)
    assert report.output is None
    assert report.verification.passed
    assert report.verification.outputs[0].name == "y"
    (fold,) = report.outcome.folds
    assert (fold.node, fold.tensor, fold.direction, fold.into) == ("n_node", "n", "upstream", ("c_node",))
    (kept,) = report.outcome.kept
    assert (kept.node, kept.refusals[0].path) == ("y_node", ("y_node", "s_node"))


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_path(model, tmp_path, kind):
    path = save(model, tmp_path / "model.onnx")
    before = snapshot(tmp_path)
    result = bnfold.fold(kind(path))
    assert result.model == bnfold.fold(model).model
    assert result.report.input == str(path)
    assert snapshot(tmp_path) == before


def test_an_onnx_ir_model(model):
    onnx_ir = pytest.importorskip("onnx_ir")
    given = onnx_ir.from_proto(model)
    result = bnfold.fold(given)
    assert isinstance(result.model, onnx_ir.Model)
    assert onnx_ir.to_proto(given) == onnx_ir.to_proto(onnx_ir.from_proto(model))
    assert_equal_outputs(model, onnx_ir.to_proto(result.model))
    assert result.report.batch_norms.folded == 1


def test_a_part_of_an_onnx_ir_model_is_no_model(model):
    onnx_ir = pytest.importorskip("onnx_ir")
    with pytest.raises(UsageError, match="Graph"):
        bnfold.fold(onnx_ir.from_proto(model).graph)


@pytest.mark.parametrize("thing", [None, 3, b"model", object(), onnx.GraphProto(), [], np.zeros(3)])
def test_things_that_are_no_model(thing):
    with pytest.raises(UsageError, match=r"expected a path, an onnx\.ModelProto, an onnx_ir\.Model, a torch\.jit"):
        bnfold.fold(thing)


def test_an_unknown_option(model):
    with pytest.raises(UsageError, match="afine"):
        bnfold.fold(model, afine=True)


@pytest.mark.parametrize("patterns", [("n_*",), ["n_node"], ("?_node", "nothing")])
def test_exclude(model, patterns):
    report = bnfold.fold(model, exclude=patterns).report
    assert report.batch_norms.folded == 0
    assert {entry.refusals[0].reason.slug for entry in report.outcome.kept} <= {"excluded", "not-linear"}


@pytest.mark.parametrize("on_mismatch", ["fail", "revert"])
def test_patterns_that_match_nothing_are_told_of(model, on_mismatch):
    """A pattern that matches a node that is no candidate says something: nothing is folded into that node."""
    label = next(node.name or node.output[0] for node in model.graph.node if node.op_type != "BatchNormalization")
    outcome = bnfold.fold(model, exclude=("typo*", glob.escape(label)), on_mismatch=on_mismatch).report.outcome
    assert outcome.unmatched == ("typo*",)
    assert bnfold.fold(model, verify=None).report.outcome.unmatched == ()


def test_a_lone_pattern_is_one_pattern_or_an_error(model):
    """A string is a sequence too: its letters are no patterns, `*` least of all."""
    try:
        report = bnfold.fold(model, exclude="never*").report
    except UsageError:
        return
    assert report.batch_norms.folded == 1


def test_affine_nodes_are_left_where_the_caller_wants_it(network):
    network.node("Mul", ["y", network.weight("k", 4, 1, 1)], "z")
    model = network.model({"x": SHAPE}, ["z"])
    assert count(bnfold.fold(model).model, "Mul") == 0
    kept = bnfold.fold(model, affine=False)
    assert count(kept.model, "Mul") == 1
    assert kept.report.affine_nodes.found == 0


def test_assume_inference(network):
    network.nodes[1].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    network.nodes[1].output.extend(["mean_out", "var_out"])
    model = network.model({"x": SHAPE}, ["y"])
    before = model.SerializeToString()
    result = bnfold.fold(model, assume_inference=True)
    assert result.report.batch_norms.folded == 1
    assert result.report.verification.passed
    assert model.SerializeToString() == before


def test_keep_overridable(network):
    model = network.model({"x": SHAPE}, ["y"], overridable=True)
    assert bnfold.fold(model, keep_overridable=True).model == model
    folded = bnfold.fold(model).model
    assert "n.mean" not in {entry.name for entry in folded.graph.input}


def test_no_check(model):
    result = bnfold.fold(model, verify=None)
    assert result.report.verification.status == "skipped"
    assert result.model == bnfold.fold(model).model


def test_options_of_the_check(model):
    report = bnfold.fold(model, verify=VerifyOptions(samples=2, seed=5)).report
    assert (report.verification.samples, report.verification.seed) == (2, 5)


def test_nothing_to_fold():
    network = Network()
    network.node("Relu", ["x"], "y")
    model = network.model({"x": SHAPE}, ["y"])
    result = bnfold.fold(model)
    assert result.model == model
    assert result.report.batch_norms.found == 0
    assert result.report.verification.passed


def test_a_fold_that_the_check_rejects(model):
    """The check is not decoration: a tolerance of zero rejects the one rounding, and the error carries the report."""
    with pytest.raises(VerificationError) as caught:
        bnfold.fold(model, verify=VerifyOptions(rtol=0.0, atol=0.0))
    assert caught.value.report.verification.status == "failed"
    assert caught.value.report.output is None
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BnfoldError)


def test_the_same_input_gives_the_same_bytes(model):
    first, second = (bnfold.fold(model).model.SerializeToString() for _ in range(2))
    assert first == second


def test_the_standard_domain_by_its_long_name():
    """onnxruntime runs what some exporters write: operators and opset under `ai.onnx`."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": SHAPE}, ["y"])
    for entry in (*model.graph.node, *model.opset_import):
        entry.domain = "ai.onnx"
    result = bnfold.fold(model)
    assert result.report.batch_norms.folded == 1
    assert_equal_outputs(model, result.model)


def test_explain_reports_and_leaves_the_model(model):
    before = model.SerializeToString()
    report = bnfold.explain(model)
    assert model.SerializeToString() == before
    assert report.verification.status == "skipped"
    assert [entry.node for entry in report.outcome.folds] == ["n_node"]
    assert [entry.refusals[0].reason.code for entry in report.outcome.kept] == ["BNF101"]


def test_explain_of_a_path_writes_nothing(model, tmp_path):
    path = save(model, tmp_path / "model.onnx")
    before = snapshot(tmp_path)
    assert bnfold.explain(path).batch_norms.folded == 1
    assert snapshot(tmp_path) == before


def test_verify_of_a_model_and_itself_folded(model, tmp_path):
    folded = bnfold.fold(model).model
    assert bnfold.verify(model, folded).passed
    assert bnfold.verify(save(model, tmp_path / "a.onnx"), folded.SerializeToString(), samples=1).passed


def test_verify_of_two_models_that_differ(model):
    changed = bnfold.fold(model).model
    weight = onnx.numpy_helper.to_array(changed.graph.initializer[0]).copy()
    weight[2, 0, 0, 0] += 0.5  # channels 0 and 1 have a scale of 0 and 0.001 behind the Sigmoid
    changed.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, changed.graph.initializer[0].name))
    verdict = bnfold.verify(model, changed)
    assert not verdict.passed
    assert [entry.passed for entry in verdict.outputs] == [False]


def test_verify_rejects_an_unknown_option(model):
    with pytest.raises(UsageError, match="sample"):
        bnfold.verify(model, model, sample=1)
