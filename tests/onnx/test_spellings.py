"""Operators that exporters spell out and onnxruntime puts together again: folding leaves them whole."""

import math
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from bnfold.frontends.onnx.spellings import SPELLINGS
from bnfold.refusal import Reason
from tests.folding import count, fold, fold_and_compare
from tests.networks import Network

SHAPE = [2, 4, 5, 5]
TOKENS = [2, 5, 4]


class Speller:
    """Writes an expression as nodes; numbers become initializers of one element."""

    def __init__(self, network, dtype="float32", shape=()):
        self.network, self.dtype, self.shape, self.made = network, dtype, shape, 0

    def __call__(self, op_type, *operands, **attributes):
        self.made += 1
        inputs = [operand if isinstance(operand, str) else self.number(operand) for operand in operands]
        return self.network.node(op_type, inputs, f"v{self.made}", **attributes)

    def number(self, value):
        self.made += 1
        dtype = "int64" if isinstance(value, list) else self.dtype
        values = value if isinstance(value, list) else np.full(self.shape, value)
        return self.network.constant(f"k{self.made}", values, dtype)


def erf(op, x):
    return op("Add", op("Erf", op("Div", x, math.sqrt(2))), 1.0)


def tanh(op, x):
    cube = op("Pow", x, 3.0)
    return op("Add", op("Tanh", op("Mul", op("Add", x, op("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))), 1.0)


def tanh_of_products(op, x):
    inner = op("Add", op("Mul", op("Mul", 0.044715, x), x), 1.0)
    return op("Add", 1.0, op("Tanh", op("Mul", op("Mul", x, 0.79788456), inner)))


def clipped(op, x):
    return op("Clip", op("Add", x, 3.0), 0.0, 6.0)


ACTIVATIONS = {
    "gelu, 0.5 last": lambda op, x: op("Mul", op("Mul", x, erf(op, x)), 0.5),
    "gelu, 0.5 first": lambda op, x: op("Mul", op("Mul", x, 0.5), erf(op, x)),
    "gelu, 0.5 inside": lambda op, x: op("Mul", x, op("Mul", 0.5, erf(op, x))),
    "gelu, product": lambda op, x: op(
        "Mul", op("Mul", op("Add", 1.0, op("Erf", op("Mul", x, math.sqrt(0.5)))), x), 0.5
    ),
    "gelu by tanh": lambda op, x: op("Mul", op("Mul", x, 0.5), tanh(op, x)),
    "gelu by tanh, 0.5 last": lambda op, x: op("Mul", op("Mul", x, tanh(op, x)), 0.5),
    "gelu by tanh, products": lambda op, x: op("Mul", op("Mul", x, 0.5), tanh_of_products(op, x)),
    "quick gelu": lambda op, x: op("Mul", x, op("Sigmoid", op("Mul", x, 1.702))),
    "hard swish": lambda op, x: op("Div", op("Mul", x, clipped(op, x)), 6.0),
    "hard swish, divided first": lambda op, x: op("Mul", x, op("Div", clipped(op, x), 6.0)),
    "hard swish, product": lambda op, x: op("Mul", op("Mul", x, clipped(op, x)), 1 / 6),
    "hard sigmoid": lambda op, x: op("Div", clipped(op, x), 6.0),
    "hard sigmoid of slope and offset": lambda op, x: op("Clip", op("Add", op("Mul", x, 0.2), 0.5), 0.0, 1.0),
    "mish": lambda op, x: op("Mul", x, op("Tanh", op("Log", op("Add", op("Exp", x), 1.0)))),
}


def between_convolutions(activation, *, opset=17, batch_norms=False, **writing):
    """Conv -> activation -> Conv, with a BatchNorm behind the first and in front of the second where asked for."""
    network = Network(opset=opset)
    value = network.node("Conv", ["x", network.weight("w", 4, 4, 1, 1)], "c")
    if batch_norms:
        value = network.batch_norm(value, "n", 4)
    value = ACTIVATIONS[activation](Speller(network, **writing), value)
    if batch_norms:
        value = network.batch_norm(value, "m", 4)
    network.node("Conv", [value, network.weight("v", 3, 4, 1, 1)], "y")
    return network.model({"x": SHAPE}, ["y"])


def run_by_onnxruntime(model, tmp_path):
    """The operators that onnxruntime's default level leaves of a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    return Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)], ids=str)
def test_the_constants_of_an_activation_stay(activation, shape):
    model = between_convolutions(activation, shape=shape)
    folded = fold(model)
    assert folded.model.SerializeToString() == model.SerializeToString()
    assert {entry.refusals[0].reason for entry in folded.kept} == {Reason.SPELLED_OUT}
    constants = sum(
        node.op_type in ("Add", "Div", "Mul") and any("k" in i for i in node.input) for node in model.graph.node
    )
    assert len(folded.kept) == constants


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_batch_norms_around_an_activation_fold_past_it(activation):
    model = between_convolutions(activation, batch_norms=True)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert count(folded.model, "Conv") == 2
    assert len(folded.model.graph.node) == len(model.graph.node) - 2


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if "gelu" in name])
def test_onnxruntime_fuses_as_much_as_before(activation, tmp_path):
    model = between_convolutions(activation, batch_norms=True)
    before, after = (run_by_onnxruntime(each, tmp_path) for each in (model, fold_and_compare(model).model))
    fused = {name: number for name, number in before.items() if "elu" in name}
    assert fused == {name: after[name] for name in fused}
    if activation in ("gelu, 0.5 last", "gelu, 0.5 first", "quick gelu"):
        assert fused


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_digits_of_the_type_do_not_matter(dtype):
    network = Network()
    x = network.node("MatMul", ["x", network.weight("w", 4, 4, dtype=dtype)], "m")
    value = ACTIVATIONS["gelu, 0.5 last"](Speller(network, dtype), x)
    network.node("MatMul", [value, network.weight("v", 4, 3, dtype=dtype)], "y")
    assert fold(network.model({"x": [5, 4]}, ["y"], dtype=dtype)).folds == ()


def test_another_number_is_no_spelling():
    """0.5 * x * (1 + erf(x / 3)) is no Gelu, and its factor may go."""
    network = Network()
    op = Speller(network)
    x = network.node("Conv", ["x", network.weight("w", 4, 4, 1, 1)], "c")
    value = op("Mul", op("Mul", x, op("Add", op("Erf", op("Div", x, 3.0)), 1.0)), 0.5)
    network.node("Conv", [value, network.weight("v", 3, 4, 1, 1)], "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert [entry.op for entry in folded.folds] == ["Mul"]


def test_a_tensor_inside_that_somebody_else_reads_makes_it_no_spelling():
    """No runtime fuses it then, because the tensor is needed."""
    network = Network()
    op = Speller(network)
    x = network.node("Conv", ["x", network.weight("w", 4, 4, 1, 1)], "c")
    inner = erf(op, x)
    value = op("Mul", op("Mul", x, inner), 0.5)
    network.node("Conv", [value, network.weight("v", 3, 4, 1, 1)], "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", inner]))
    assert [entry.op for entry in folded.folds] == ["Mul"]


def test_a_number_from_the_caller_is_no_constant():
    network = Network()
    x = network.node("Conv", ["x", network.weight("w", 4, 4, 1, 1)], "c")
    value = ACTIVATIONS["gelu, 0.5 last"](Speller(network), x)
    network.node("Conv", [value, network.weight("v", 3, 4, 1, 1)], "y")
    half = next(name for name, number in network.initializers.items() if number.size == 1 and number == 0.5)
    del network.initializers[half]
    model = network.model({"x": SHAPE, half: []}, ["y"])
    assert Reason.SPELLED_OUT not in {entry.refusals[0].reason for entry in fold(model).kept}


class TestNormalisations:
    """Mean and root of squares, spelled out, with scale and bias behind."""

    def network(self, kind, *, batch_norm=False):
        network = Network()
        op = Speller(network)
        x = network.node("MatMul", ["x", network.weight("w", 4, 4)], "p")
        if kind == "layer":
            x = op("Sub", x, op("ReduceMean", x, axes=[-1]))
        root = op("Sqrt", op("Add", op("ReduceMean", op("Pow", x, 2.0), axes=[-1]), 1e-5))
        value = op("Mul", op("Div", x, root), network.weight("gamma", 4))
        if kind == "layer":
            value = op("Add", value, network.weight("beta", 4))
        if batch_norm:
            turned = network.node("Transpose", [value], "t", perm=[0, 2, 1])
            value = network.node("Transpose", [network.batch_norm(turned, "n", 4)], "back", perm=[0, 2, 1])
        network.node("MatMul", [value, network.weight("v", 4, 3)], "y")
        return network

    @pytest.mark.parametrize("kind", ["layer", "rms"])
    def test_scale_and_bias_stay_though_the_product_behind_could_take_them(self, kind):
        model = self.network(kind).model({"x": TOKENS}, ["y"])
        folded = fold(model)
        assert folded.model.SerializeToString() == model.SerializeToString()
        assert {entry.refusals[0].reason for entry in folded.kept} == {Reason.SPELLED_OUT}

    def test_scale_and_bias_take_a_batch_norm(self, tmp_path):
        model = self.network("layer", batch_norm=True).model({"x": TOKENS}, ["y"])
        folded = fold_and_compare(model)
        assert folded.batch_norms_left == 0
        assert len(folded.model.graph.node) == len(model.graph.node) - 1
        assert run_by_onnxruntime(folded.model, tmp_path)["LayerNormalization"] == 1

    def test_a_scale_of_one_stays_a_scale(self, tmp_path):
        """x * 1 is gone otherwise, and with it what onnxruntime looks for."""
        network = self.network("layer")
        network.constant("gamma", np.ones(4))
        network.constant("beta", np.zeros(4))
        folded = fold_and_compare(network.model({"x": TOKENS}, ["y"]))
        assert folded.folds == ()
        assert run_by_onnxruntime(folded.model, tmp_path)["LayerNormalization"] == 1


@pytest.mark.parametrize("op_type", ["Mul", "Div"])
@pytest.mark.parametrize("mask", [False, True])
def test_the_scale_of_attention_stays(op_type, mask):
    network = Network()
    op = Speller(network)
    q, k = (network.node("MatMul", ["x", network.weight(f"w{name}", 4, 4)], name) for name in "qk")
    scores = op(op_type, op("MatMul", q, network.node("Transpose", [k], "kt", perm=[0, 2, 1])), 2.0)
    scores = op("Add", scores, "mask") if mask else scores
    network.node("Softmax", [scores], "y")
    inputs = {"x": TOKENS, "mask": [5, 5]} if mask else {"x": TOKENS}
    folded = fold(network.model(inputs, ["y"]))
    assert folded.folds == ()
    assert [entry.refusals[0].reason for entry in folded.kept] == [Reason.SPELLED_OUT]


@pytest.mark.parametrize("scaled", ["q", "k", "qk"])
def test_the_scale_of_attention_stays_in_front_of_the_product_too(scaled):
    """As scaled_dot_product_attention is exported; onnxruntime makes it a factor of the product."""
    network = Network()
    op = Speller(network)
    q, k = (network.node("MatMul", ["x", network.weight(f"w{name}", 4, 4)], name) for name in "qk")
    q = op("Mul", q, 0.7) if "q" in scaled else q
    k = op("Mul", k, 0.7) if "k" in scaled else k
    network.node("Softmax", [op("MatMul", q, network.node("Transpose", [k], "kt", perm=[0, 2, 1]))], "y")
    model = network.model({"x": TOKENS}, ["y"])
    folded = fold(model)
    assert folded.folds == ()
    assert [entry.refusals[0].reason for entry in folded.kept] == [Reason.SPELLED_OUT] * len(scaled)


@pytest.mark.parametrize("place", ["in front", "behind"])
def test_a_temperature_of_a_classifier_is_no_attention(place):
    """A weight takes it."""
    network = Network()
    op = Speller(network)
    x = op("Mul", op("Sigmoid", "x"), 0.5) if place == "in front" else "x"
    x = op("MatMul", x, network.weight("w", 4, 6))
    network.node("Softmax", [x if place == "in front" else op("Div", x, 3.0)], "y")
    folded = fold_and_compare(network.model({"x": TOKENS}, ["y"]))
    assert len(folded.folds) == 1


@pytest.mark.parametrize("opset", [8, 17])
def test_another_range_is_no_hard_sigmoid(opset):
    """Such as bringing pixels into 0 to 255."""
    for highest, stays in ((255.0, False), (1.0, True)):
        network = Network(opset=opset)
        op = Speller(network)
        x = op("Add", op("Mul", network.node("Conv", ["x", network.weight("w", 4, 4, 1, 1)], "c"), 0.2), 0.5)
        if opset == 8:
            network.node("Clip", [x], "y", min=0.0, max=highest)
        else:
            network.node("Clip", [x, op.number(0.0), op.number(highest)], "y")
        folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
        assert bool(folded.folds) is not stays


def test_every_spelling_has_a_source():
    assert all(spelling.source.startswith("http") for spelling in SPELLINGS)
