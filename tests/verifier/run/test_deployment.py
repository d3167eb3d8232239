"""The new model at onnxruntime's default settings."""

from dataclasses import replace

import numpy as np
import pytest

from bnfold.errors import UsageError
from bnfold.verifier import VerifyOptions, check, pipeline
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.deployment import Baseline, check_deployment, deploy
from bnfold.verifier.run.runner import OnnxRunner
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import ConvBatchNorm


def test_a_correct_fold_runs_there_as_well():
    network = ConvBatchNorm()
    verdict = check(network.original(), network.folded())
    assert verdict.deployment is not None
    assert verdict.deployment.passed
    assert verdict.deployment.provider == "CPUExecutionProvider"
    assert 0 < verdict.deployment.max_rel < 1e-5


def test_another_result_there_fails():
    network = ConvBatchNorm()

    def double(weight):
        weight *= 2

    original, new = (
        Model.read("the original", network.original()),
        Model.read("the new model", network.folded(spoil_weight=double)),
    )
    feeds = {"x": np.ones((1, 3, 6, 6), np.float32)}
    options = VerifyOptions()
    deployed = deploy(new, feeds, options.provider)
    baseline = Baseline(OnnxRunner(original), feeds, Session(original).run(feeds), tuple)
    found = check_deployment(deployed, new, baseline, options)
    assert not found.passed
    assert found.problem.startswith("output 'y': max |a - b| is ")


def test_a_provider_that_is_not_there_is_a_usage_error():
    network = ConvBatchNorm()
    with pytest.raises(UsageError, match=r"no provider 'MoonExecutionProvider': it has .*CPUExecutionProvider"):
        check(network.original(), network.folded(), VerifyOptions(provider="MoonExecutionProvider"))


def test_a_check_fails_where_the_deployed_model_gives_another_result(monkeypatch):
    network = ConvBatchNorm()

    def doubled(model, feeds, provider, without=()):
        found = deploy(model, feeds, provider, without)
        return replace(found, outputs=[2 * values for values in found.outputs])

    monkeypatch.setattr(pipeline, "deploy", doubled)
    verdict = check(network.original(), network.folded())
    assert verdict.status == "failed"
    assert verdict.problem.startswith("at onnxruntime's default settings (CPUExecutionProvider): output 'y'")
