"""What decoders read is what onnxruntime computes; with the laws of the rules, this makes a fold correct."""

import numpy as np
import onnx.defs
import pytest

from bnfold.frontends.onnx.operators.table import OPERATORS
from bnfold.refusal import Reason
from bnfold.semantics import Contraction, Opaque
from bnfold.weight import Weight
from tests.folding import session
from tests.networks import Network
from tests.onnx.checks import decode_all
from tests.rules.evaluate import evaluate

OLDEST_OPSET = 7


LEFT_OUT = {
    "GroupNormalization": {18},  # one scale per group, not per channel
    "Upsample": {10},  # deprecated at once, and no graph may hold it
}


DOMAINS_OF_ONNX = {schema.domain for schema in onnx.defs.get_all_schemas()}
DECODED = [key for key, operator in OPERATORS.items() if operator.decode is not None and key[0] in DOMAINS_OF_ONNX]


@pytest.mark.parametrize(("domain", "op_type"), DECODED)
def test_every_version_is_known(domain, op_type):
    """A new version of an operator must be read before it is listed; until then this test fails."""
    history = {
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == domain and schema.name == op_type
    }
    in_force_at_the_oldest = max((version for version in history if version <= OLDEST_OPSET), default=OLDEST_OPSET)
    left_out = LEFT_OUT.get(op_type, set())
    expected = {version for version in history if version >= in_force_at_the_oldest} - left_out
    assert OPERATORS[domain, op_type].versions == expected


def test_other_operators_have_no_rule():
    network = Network()
    network.node("Det", ["x"], "y")
    meaning = decode_all(network.model({"x": (3, 3)}, ["y"]))["y"]
    assert meaning == Opaque(Reason.UNKNOWN_OPERATOR, "Det has no rule")


@pytest.mark.parametrize("op_type", ["Sigmoid", "Exp", "Erf"])
def test_operators_that_let_nothing_pass_are_known_as_such(op_type):
    network = Network()
    network.node(op_type, ["x"], "y")
    meaning = decode_all(network.model({"x": (3, 3)}, ["y"]))["y"]
    assert meaning == Opaque(Reason.NOT_LINEAR, f"{op_type} is not linear")


def outputs(model, shapes):
    """Random inputs and what onnxruntime makes of them."""
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    (y,) = session(model).run(None, feeds)
    return feeds["x"].astype(np.float64), y


def assert_means(meaning, x, expected):
    assert isinstance(meaning, Contraction)
    np.testing.assert_allclose(evaluate(meaning, {meaning.source: x})[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
def test_conv(rank, groups, with_bias):
    network = Network()
    kernel = (2, 3, 1)[:rank]
    inputs = ["x", network.weight("w", 8, 4 // groups, *kernel), *([network.weight("b", 8)] if with_bias else [])]
    network.node("Conv", inputs, "y", group=groups)
    shapes = {"x": (2, 4, *[4] * rank)}
    model = network.model(shapes, ["y"])
    assert_means(decode_all(model)["y"], *outputs(model, shapes))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
def test_conv_transpose(rank, groups, with_bias):
    """Without strides it is a convolution of the padded input with the kernel turned around."""
    network = Network()
    kernel = (2, 3, 1)[:rank]
    inputs = ["x", network.weight("w", 4, 3, *kernel), *([network.weight("b", 3 * groups)] if with_bias else [])]
    network.node("ConvTranspose", inputs, "y", group=groups)
    shapes = {"x": (2, 4, *[4] * rank)}
    model = network.model(shapes, ["y"])
    meaning = decode_all(model)["y"]
    x, expected = outputs(model, shapes)
    padded = np.pad(x, [(0, 0), (0, 0), *((size - 1, size - 1) for size in kernel)])
    turned = np.flip(meaning.weight.array, axis=tuple(range(3, 3 + rank)))
    assert_means(Contraction(Weight(turned), meaning.bias, meaning.output_rank, meaning.output_axis), padded, expected)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("shape_of_c", [None, (), (1,), (4,), (1, 4), (5, 1), (5, 4)], ids=str)
def test_gemm(trans_a, trans_b, shape_of_c):
    network = Network()
    inputs = ["x", network.weight("w", *((4, 3) if trans_b else (3, 4)))]
    inputs += [] if shape_of_c is None else [network.weight("c", *shape_of_c)]
    network.node("Gemm", inputs, "y", transA=trans_a, transB=trans_b, alpha=-0.7, beta=0.3)
    shapes = {"x": (3, 5) if trans_a else (5, 3)}
    model = network.model(shapes, ["y"])
    x, expected = outputs(model, shapes)
    assert_means(decode_all(model)["y"], x, expected)


@pytest.mark.parametrize("left", [(3,), (5, 3), (2, 5, 3), (2, 1, 5, 3)], ids=len)
def test_mat_mul(left):
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, 4)], "y")
    model = network.model({"x": left}, ["y"])
    assert_means(decode_all(model)["y"], *outputs(model, {"x": left}))


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
@pytest.mark.parametrize("constant_first", [False, True], ids=["x, c", "c, x"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1, 1), (1, 3, 1, 1), (2, 1, 5, 1), (2, 3, 5, 4)], ids=str)
def test_arithmetic(op, constant_first, shape):
    network = Network()
    operands = ["x", network.weight("c", *shape)]
    network.node(op, operands[::-1] if constant_first else operands, "y")
    shapes = {"x": (2, 3, 5, 4)}
    model = network.model(shapes, ["y"])
    meaning = decode_all(model)["y"]
    if op == "Div" and constant_first:
        assert meaning == Opaque(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
        return
    x, expected = outputs(model, shapes)
    np.testing.assert_allclose(evaluate(meaning, {meaning.source: x})[0], expected, rtol=1e-4, atol=1e-4)
    assert meaning.source == int(constant_first)
