"""Linear models of ai.onnx.ml, in which pipelines of scikit-learn end: a Scaler goes into their numbers."""

import numpy as np
import pytest

import bnfold
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare, session
from tests.networks import Network
from tests.onnx.checks import operators

DOMAIN = "ai.onnx.ml"
FEATURES = 4
SCALE, OFFSET = [1.0, -2.0, 0.0, 0.25], [0.1, 0.2, 0.3, -4.0]


def numbers(network, rows, *, intercepts=True):
    given = {"coefficients": network.random.normal(size=rows * FEATURES)}
    if intercepts:
        given["intercepts"] = network.random.normal(size=rows)
    return {name: [float(np.float32(value)) for value in values] for name, values in given.items()}


def regressor(network, source, output, targets=1, *, intercepts=True, **how):
    given = numbers(network, targets, intercepts=intercepts)
    return network.node("LinearRegressor", [source], output, domain=DOMAIN, targets=targets, **given, **how)


def model_of(network, outputs=("y",), batch=5):
    shapes = {name: ["n", "t"] for name in outputs}
    return network.model({"x": (batch, FEATURES)}, shapes, domains={DOMAIN: 3}, check=False)


def scaled(network, source="x", output="s"):
    return network.node("Scaler", [source], output, domain=DOMAIN, scale=SCALE, offset=OFFSET)


@pytest.mark.parametrize("batch", [5, "n"])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("intercepts", [True, False])
def test_a_scaler_in_front_of_a_regression(intercepts, targets, batch):
    """Without intercepts, an Add is what is left."""
    network = Network()
    regressor(network, scaled(network), "y", targets, intercepts=intercepts)
    folded = fold_and_compare(model_of(network, batch=batch), {"x": (5, FEATURES)})
    assert operators(folded.model) == ["LinearRegressor", *([] if intercepts else ["Add"])]


@pytest.mark.parametrize("targets", [2, 3])
def test_a_batch_norm_behind_a_regression(targets):
    network = Network()
    regressor(network, "x", "r", targets)
    network.batch_norm("r", "y", targets)
    assert operators(fold_and_compare(model_of(network)).model) == ["LinearRegressor"]


@pytest.mark.parametrize("names", ["classlabels_ints", "classlabels_strings"])
@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_scaler_in_front_of_a_classification(rows, transform, names):
    """The labels are integers or words, the scores are compared. One row of numbers may say two classes."""
    network = Network()
    count = max(rows, 2)
    labels = list(range(count)) if names.endswith("ints") else [f"class {place}" for place in range(count)]
    given = {**numbers(network, rows), names: labels, "post_transform": transform, "multi_class": 1}
    network.node("LinearClassifier", [scaled(network)], ["label", "y"], domain=DOMAIN, **given)
    model = model_of(network)
    folded = fold(model)
    assert operators(folded.model) == ["LinearClassifier"]
    feeds = {"x": network.random.normal(size=(5, FEATURES)).astype(np.float32)}
    one, other = (session(each).run(["y"], feeds)[0] for each in (model, folded.model))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_goes_into_a_classification_from_behind():
    network = Network()
    given = {**numbers(network, 3), "classlabels_ints": [0, 1, 2]}
    network.node("LinearClassifier", ["x"], ["label", "c"], domain=DOMAIN, **given)
    network.node("Mul", ["c", network.weight("k", 3)], "y")
    assert operators(fold_and_compare(model_of(network)).model) == ["LinearClassifier", "Mul"]


@pytest.mark.parametrize("transform", ["SOFTMAX", "PROBIT"])
def test_what_is_done_with_the_sums_is_not_linear(transform):
    network = Network()
    regressor(network, scaled(network), "y", 2, post_transform=transform)
    (kept,) = fold(model_of(network)).kept
    assert kept.refusals[1].reason is Reason.NOT_LINEAR


def test_numbers_that_fit_no_features_are_malformed():
    network = Network()
    network.node("Mul", ["x", network.constant("k", [2.0, 3.0, 4.0, 5.0])], "s")
    network.node("LinearRegressor", ["s"], "y", domain=DOMAIN, targets=1, coefficients=[1.0, 2.0, 3.0])
    assert fold(model_of(network)).kept[0].refusals[1].reason is Reason.MALFORMED


def test_features_of_another_type_are_rounded():
    network = Network()
    network.node("Cast", ["x"], "d", to=11)
    network.node("Mul", ["d", network.constant("k", [2.0, 3.0, 4.0, 5.0], "float64")], "s")
    regressor(network, "s", "y")
    (kept,) = fold(model_of(network)).kept
    assert "computes in float32" in kept.refusals[1].evidence


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_check_passes(kind):
    network = Network()
    if kind == "regression":
        regressor(network, scaled(network), "y", 2)
    else:
        given = {**numbers(network, 3), "classlabels_ints": [0, 1, 2]}
        network.node("LinearClassifier", [scaled(network)], ["label", "y"], domain=DOMAIN, **given)
    result = bnfold.fold(model_of(network))
    assert result.report.verification.passed
    assert len(result.model.graph.node) == 1
