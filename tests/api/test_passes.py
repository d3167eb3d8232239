"""The pass for onnx_ir's pipelines."""

import pytest

from tests.folding import assert_equal_outputs, count

onnx_ir = pytest.importorskip("onnx_ir")

from bnfold.errors import UsageError  # noqa: E402 - after the skip
from bnfold.passes import FoldBatchNorm  # noqa: E402


def test_alone(model):
    given = onnx_ir.from_proto(model)
    before = onnx_ir.to_proto(given)
    result = FoldBatchNorm()(given)
    folded = onnx_ir.to_proto(result.model)
    assert result.modified
    assert onnx_ir.to_proto(given) == before
    assert count(folded, "BatchNormalization") == 1
    assert_equal_outputs(model, folded)


def test_nothing_left_to_fold(model):
    once = FoldBatchNorm()(onnx_ir.from_proto(model)).model
    assert not FoldBatchNorm()(once).modified


def test_in_a_pipeline(model):
    import onnx_ir.passes.common as common

    pipeline = onnx_ir.passes.Sequential(FoldBatchNorm(verify=None), common.RemoveUnusedNodesPass())
    result = pipeline(onnx_ir.from_proto(model))
    assert_equal_outputs(model, onnx_ir.to_proto(result.model))


def test_options_reach_the_fold(model):
    assert not FoldBatchNorm(exclude=["n_node"])(onnx_ir.from_proto(model)).modified


def test_an_unknown_option(model):
    with pytest.raises((UsageError, onnx_ir.passes.PassError)):
        FoldBatchNorm(no_such_option=1)(onnx_ir.from_proto(model))


def test_the_report_stays_with_the_pass(model):
    fold = FoldBatchNorm()
    assert fold.report is None
    onnx_ir.passes.Sequential(fold)(onnx_ir.from_proto(model))
    assert (fold.report.batch_norms.folded, fold.report.verification.status) == (1, "passed")
    with pytest.raises(Exception, match="got int, expected"):
        fold.call(3)
    assert fold.report is None, "that of another model would be taken for this one's"
