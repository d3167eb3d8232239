"""Numbers that nodes of ai.onnx.ml hold in attributes are rounded like others, and wrong ones are found."""

import numpy as np
import onnx
import pytest

import bnfold
from tests.networks import Network

DOMAIN = "ai.onnx.ml"
FLOATS = np.random.default_rng(3).normal(size=12)


def model_of(op_type, outputs=("y",), **attributes):
    """A Mul, an Add and the operator, which takes both; the Softsign behind keeps them there."""
    network = Network()
    network.node("Mul", ["x", network.weight("k", 4)], "m")
    network.node("Add", ["m", network.weight("t", 4)], "a")
    made = ["label", "s"] if op_type == "LinearClassifier" else ["s"]
    network.node(op_type, ["a"], made, domain=DOMAIN, **attributes)
    network.node("Softsign", ["s"], "y")
    return network.model({"x": (5, 4)}, {name: ["n", "t"] for name in outputs}, domains={DOMAIN: 3}, check=False)


MODELS = {
    "Scaler": {"scale": FLOATS[:4].tolist(), "offset": FLOATS[4:8].tolist()},
    "LinearRegressor": {"coefficients": FLOATS.tolist(), "intercepts": FLOATS[:3].tolist(), "targets": 3},
    "LinearClassifier": {
        "coefficients": FLOATS.tolist(),
        "intercepts": FLOATS[:3].tolist(),
        "classlabels_ints": [0, 1, 2],
    },
}
TRANSFORMED = {**MODELS["LinearClassifier"], "post_transform": "SOFTMAX"}
TWO = {"coefficients": FLOATS[:4].tolist(), "intercepts": [0.5], "classlabels_ints": [0, 1]}


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [*MODELS.items(), ("LinearClassifier", TRANSFORMED), ("LinearClassifier", TWO)],
    ids=["Scaler", "LinearRegressor", "LinearClassifier", "transformed", "two classes"],
)
def test_a_right_fold_passes(op_type, attributes):
    result = bnfold.fold(model_of(op_type, **attributes))
    assert result.report.verification.passed
    assert [node.op_type for node in result.model.graph.node] == [op_type, "Softsign"]


@pytest.mark.parametrize("op_type", MODELS)
def test_a_number_that_is_off_by_a_thousandth_is_found(op_type):
    model = model_of(op_type, **MODELS[op_type])
    folded = bnfold.fold(model).model
    wrong = onnx.ModelProto()
    wrong.CopyFrom(folded)
    (entry,) = [entry for entry in wrong.graph.node[0].attribute if entry.name in ("coefficients", "scale")]
    entry.floats[1] *= 1.001
    assert bnfold.verify(model, folded).passed
    assert not bnfold.verify(model, wrong).passed
