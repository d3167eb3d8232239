"""MultiHeadAttention of com.microsoft: a softmax forgets, and its rows sum to 1."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import decode_all, operators

DOMAIN = "com.microsoft"
TOKENS, WIDTH = 3, 4
X = (2, TOKENS, WIDTH)


def project(network, source, name, *, bias):
    made = network.node("MatMul", [source, network.weight(f"{name}.w", WIDTH, WIDTH)], f"{name}.m")
    return network.node("Add", [made, network.weight(f"{name}.b", WIDTH)], f"{name}.a") if bias else made


def attend(network, q, k, v, *, more=(), outputs=("o",), **attributes):
    network.node("MultiHeadAttention", [q, k, v, *more], list(outputs), domain=DOMAIN, num_heads=2, **attributes)
    return outputs[0]


def normalised(network, source, output):
    """A BatchNorm over the features of tokens."""
    network.node("Transpose", [source], f"{output}.1", perm=[0, 2, 1])
    network.batch_norm(f"{output}.1", f"{output}.2", WIDTH)
    return network.node("Transpose", [f"{output}.2"], output, perm=[0, 2, 1])


def model_of(network, outputs=("y",), inputs=None):
    shapes = dict.fromkeys(outputs, ("b", "t", "f"))
    return network.model({"x": X, **(inputs or {})}, shapes, domains={DOMAIN: 1}, check=False)


@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1}, {"scale": 0.3}], ids=str)
def test_keys_and_values_need_no_bias(attributes):
    network = Network()
    normalised(network, "x", "n")
    attend(network, *(project(network, "n", name, bias=name == "q") for name in "qkv"), **attributes)
    network.node("Add", [project(network, "o", "p", bias=False), network.weight("p.b", WIDTH)], "y")
    model = model_of(network)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) - 1


def test_a_batch_norm_behind_it_goes_to_the_values():
    network = Network()
    attend(network, *(project(network, "x", name, bias=True) for name in "qkv"))
    normalised(network, "o", "y")
    assert fold_and_compare(model_of(network)).batch_norms_left == 0


@pytest.mark.parametrize("operator", ["Add", "Mul"])
def test_a_bias_in_the_node_lets_a_shift_of_the_values_pass_and_no_scale(operator):
    network = Network()
    more = [network.weight("b", 3 * WIDTH)]
    attend(network, *(project(network, "x", name, bias=name != "k") for name in "qkv"), more=more)
    network.node(operator, ["o", network.weight("k", WIDTH)], "y")
    model = model_of(network)
    folded = fold_and_compare(model)
    assert len(folded.model.graph.node) == len(model.graph.node) - (operator == "Add")
    if operator == "Mul":
        (stays,) = (entry for entry in folded.kept if entry.op == "Mul")
        assert stays.refusals[0].evidence.startswith("the node adds a bias to the values")


@pytest.mark.parametrize("slot", [4, 5])
def test_behind_a_mask_the_weights_need_not_sum_to_1(slot):
    network = Network()
    masks = {4: network.constant("lengths", [3, 2], "int32"), 5: network.weight("bias", 1, 1, TOKENS, TOKENS)}
    more = ["", masks[4]] if slot == 4 else ["", "", masks[5]]
    attend(network, *(project(network, "x", name, bias=True) for name in "qkv"), more=more)
    network.node("Add", ["o", network.weight("k", WIDTH)], "y")
    folded = fold_and_compare(model_of(network))
    assert operators(folded.model)[-1] == "Add"
    assert folded.kept[-1].refusals[0].reason is Reason.SHIFT_CANNOT_PASS


def test_behind_a_mask_a_shift_on_the_keys_is_forgotten_all_the_same():
    network = Network()
    normalised(network, "x", "n")
    q, v = (project(network, "x", name, bias=True) for name in "qv")
    attend(
        network, q, project(network, "n", "k", bias=False), v, more=["", "", network.weight("m", 1, 1, TOKENS, TOKENS)]
    )
    network.node("Identity", ["o"], "y")
    model = model_of(network)
    folded = fold_and_compare(model)
    assert (folded.batch_norms_left, len(folded.model.graph.node)) == (0, len(model.graph.node) - 1)


@pytest.mark.parametrize("seen", [1, 2])
def test_keys_and_values_that_are_kept_for_later_let_nothing_pass(seen):
    network = Network()
    outputs = ["o", "present_key", "present_value"]
    attend(network, *(project(network, "x", name, bias=True) for name in "qkv"), outputs=outputs)
    network.node("Mul", ["o", network.weight("k", WIDTH)], "m")
    network.node("Identity", ["m"], "y")
    network.node("Identity", [outputs[seen]], "z")
    meaning = decode_all(model_of(network, ("y", "z")))["o"]
    assert meaning.reason is Reason.NOT_LINEAR


def test_packed_tensors_have_no_rule():
    network = Network()
    network.node("Reshape", ["x", network.constant("s", [1, 2, 1, 3, 4], "int64")], "packed")
    network.node("MultiHeadAttention", ["packed"], "y", domain=DOMAIN, num_heads=1)
    assert decode_all(model_of(network))["y"].reason is Reason.UNKNOWN_OPERATOR


def test_what_it_makes_has_as_many_features_as_the_values():
    network = Network()
    q, k = (project(network, "x", name, bias=True) for name in "qk")
    network.node("MatMul", ["x", network.weight("w", WIDTH, 6)], "v")
    attend(network, q, k, "v")
    network.node("Sigmoid", ["o"], "s")
    network.node("Transpose", ["s"], "t", perm=[0, 2, 1])
    network.batch_norm("t", "n", 6)
    network.node("MatMul", [network.constant("u", np.eye(6) * 2), "n"], "y")
    assert fold_and_compare(model_of(network)).batch_norms_left == 0
