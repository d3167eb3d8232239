"""Operators in float64 of the check's own, beside onnxruntime's in float32."""

import numpy as np
import pytest

from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.local.truth import exact_values
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import FLOAT, model, node


def transposed(rank=2, groups=1, channels=4, outputs=6, kernel=3, **attributes):
    random = np.random.default_rng(0)
    parameters = {
        "w": random.normal(size=(channels, outputs // groups, *[kernel] * rank)).astype(np.float32),
        "b": random.normal(size=outputs).astype(np.float32),
    }
    nodes = [node("ConvTranspose", "x w b", "y", group=groups, **attributes)]
    return model(nodes, {"x": (FLOAT, [2, channels, *range(5, 5 + rank)])}, {"y": (FLOAT, None)}, parameters)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"groups": 2},
        {"groups": 2, "strides": [2, 3], "pads": [1, 0, 2, 1]},
        {"groups": 2, "dilations": [2, 1], "strides": [1, 2], "output_padding": [0, 1]},
        {"groups": 2, "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"groups": 2, "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"groups": 2, "strides": [3, 3], "auto_pad": "VALID"},
        {"groups": 2, "strides": [2, 2], "output_shape": [10, 13]},
        {"groups": 4, "channels": 4, "outputs": 4},
        {"rank": 1, "groups": 2, "strides": [2]},
        {"rank": 3, "groups": 2, "strides": [2, 1, 2]},
    ],
    ids=str,
)
def test_a_transposed_convolution_is_what_onnxruntime_makes(attributes):
    source = Model.read("the original", transposed(**attributes))
    graph = Structure(source)
    x = np.random.default_rng(1).normal(
        size=(2, attributes.get("channels", 4), *range(5, 5 + attributes.get("rank", 2)))
    )
    values = {"x": x.astype(np.float32)}
    exact = exact_values(graph, Site("y", (0,), (0,), ("x",)), values)
    assert exact is not None
    assert exact.dtype == np.float64
    (made,) = Session(source).run(values)
    np.testing.assert_allclose(made, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


def test_a_difference_without_a_reference_says_so():
    """Onnx's reference implementation has no operator of onnxruntime's own domain."""
    ports = {"x": (FLOAT, [1, 8])}, {"y": (FLOAT, [1, 8])}
    a, b = (
        model([node("QuickGelu", "x", "y", domain="com.microsoft", alpha=by)], *ports, domains={"com.microsoft": 1})
        for by in (1.7, 1.71)
    )
    assert "(which cannot be computed in float64)" in check(a, b, VerifyOptions()).problem
