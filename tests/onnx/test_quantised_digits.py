"""The digits example, quantised with its BatchNorms in it in every way that onnxruntime knows: what folds, and that the
quantizers make the same integers.
"""

import pytest

from benchmarks.quantised_digits import WAYS, compare
from bnfold.refusal import Reason
from tests.kernels import needs_newer_kernels


@needs_newer_kernels
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.called)
def test_what_folds_and_what_the_quantizers_make(way, tmp_path):
    result = compare(way, tmp_path / "quantised.onnx")
    report = result.report
    assert (report.batch_norms.found, report.batch_norms.kept) == (4, way.stay)
    for kept in report.outcome.kept:
        if kept.is_batch_norm:
            assert kept.refusals[0].reason is Reason.NOT_LINEAR
            assert kept.refusals[0].evidence.startswith("DequantizeLinear reads what was rounded to integers")
    assert report.verification.status == "passed"
    assert result.moved == 0
    # A value at the border between two steps may fall on either side: 3 of them do so at most where this was written.
    assert result.integers > 400_000
    assert result.furthest <= 1
    assert result.other_integers <= 20


def test_a_way_that_moves_integers_would_be_seen(tmp_path, monkeypatch):
    """The comparison is one: with another model in the place of the folded one, integers differ."""
    from benchmarks import quantised_digits

    fold = quantised_digits.bnfold.fold

    def spoilt(model):
        folded = fold(model)
        (weight,) = [entry for entry in folded.model.graph.initializer if entry.name == "conv.weight_scale"]
        weight.CopyFrom(
            quantised_digits.onnx.numpy_helper.from_array(
                quantised_digits.onnx.numpy_helper.to_array(weight) * 1.1, weight.name
            )
        )
        return folded

    monkeypatch.setattr(quantised_digits.bnfold, "fold", spoilt)
    result = compare(WAYS[0], tmp_path / "quantised.onnx")
    assert result.other_integers > 1000
