"""Attention spelled out in MatMul, Softmax, MatMul: what it lets pass, and what it forgets."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_stays, operators

TOKENS, WIDTH = 3, 4
X = (2, TOKENS, WIDTH)


def project(network, source, name, *, bias, outputs=WIDTH):
    made = network.node("MatMul", [source, network.weight(f"{name}.w", WIDTH, outputs)], f"{name}.m")
    return network.node("Add", [made, network.weight(f"{name}.b", outputs)], f"{name}.a") if bias else made


def shifted(network, source, output="n"):
    """A map along the features, as a BatchNorm behind a Transpose is."""
    network.node("Mul", [source, network.weight(f"{output}.scale", WIDTH)], f"{output}.s")
    return network.node("Add", [f"{output}.s", network.weight(f"{output}.shift", WIDTH)], output)


def normalised(network, source, output="n"):
    """A BatchNorm over the features of tokens."""
    network.node("Transpose", [source], f"{output}.1", perm=[0, 2, 1])
    network.batch_norm(f"{output}.1", f"{output}.2", WIDTH)
    return network.node("Transpose", [f"{output}.2"], output, perm=[0, 2, 1])


def attend(network, q, k, v, *, behind=(), output="o"):
    turned = network.node("Transpose", [k], "k.t", perm=[0, 2, 1])
    scores = network.node("MatMul", [q, turned], "scores")
    for op_type, constant in behind:
        scores = network.node(op_type, [scores, constant], f"scores.{op_type}")
    weights = network.node("Softmax", [scores], "weights", axis=-1)
    return network.node("MatMul", [weights, v], output)


def left(model):
    return [op for op in operators(fold_and_compare(model).model) if op not in ("Transpose", "Reshape")]


PLAIN = ["MatMul", "MatMul", "MatMul", "Add", "MatMul", "Softmax", "MatMul", "MatMul", "Add"]


@pytest.mark.parametrize("behind", [[], ["Mul"], ["Div"], ["Add"], ["Mul", "Add"], ["Sub"]], ids=str)
def test_keys_and_values_need_no_bias(behind):
    """The shift of a key is forgotten by the softmax, that of a value goes through to the projection."""
    network = Network()
    constants = {
        "Mul": network.constant("root", 0.5),
        "Div": network.constant("width", 2.0),
        "Add": network.weight("mask", TOKENS, TOKENS),
        "Sub": network.weight("bias", 1, TOKENS),
    }
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    attend(network, q, k, v, behind=[(op_type, constants[op_type]) for op_type in behind])
    project(network, "o", "p", bias=True)
    model = network.model({"x": X}, ["p.a"])
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) - 1


def test_a_mask_that_is_computed_is_added_to_what_drifts():
    network = Network()
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    attend(network, q, k, v, behind=[("Add", "mask")])
    project(network, "o", "p", bias=True)
    assert fold_and_compare(network.model({"x": X, "mask": (1, 1, TOKENS)}, ["p.a"])).batch_norms_left == 0


@pytest.mark.parametrize("heads", [1, 2])
def test_heads_are_axes_like_others(heads):
    network = Network()
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    apart = network.constant("apart", [0, 0, heads, WIDTH // heads], "int64")
    for name, source, order in (("q", q, [0, 2, 1, 3]), ("k", k, [0, 2, 3, 1]), ("v", v, [0, 2, 1, 3])):
        network.node("Reshape", [source, apart], f"{name}.r")
        network.node("Transpose", [f"{name}.r"], f"{name}.h", perm=order)
    network.node("MatMul", ["q.h", "k.h"], "scores")
    network.node("Softmax", ["scores"], "weights", axis=-1)
    network.node("MatMul", ["weights", "v.h"], "mixed")
    network.node("Transpose", ["mixed"], "turned", perm=[0, 2, 1, 3])
    network.node("Reshape", ["turned", network.constant("joined", [0, 0, WIDTH], "int64")], "o")
    project(network, "o", "p", bias=True)
    assert fold_and_compare(network.model({"x": X}, ["p.a"])).batch_norms_left == 0


def stays(network, outputs=("p.a",), inputs=None):
    model = network.model({"x": X, **(inputs or {})}, list(outputs))
    return fold_and_compare(model).batch_norms_left


def keys_of(network, **how):
    """A BatchNorm in front of the keys alone."""
    normalised(network, "x")
    q, v = (project(network, "x", name, bias=True) for name in "qv")
    attend(network, q, project(network, "n", "k", bias=False), v, **how)
    project(network, "o", "p", bias=True)


def test_keys_alone():
    network = Network()
    keys_of(network)
    assert stays(network) == 0


def additions(network, outputs=("p.a",), inputs=None):
    """How many additions there are behind the keys' product."""
    folded = fold_and_compare(network.model({"x": X, **(inputs or {})}, list(outputs)))
    return [node.output[0] for node in folded.model.graph.node if node.op_type == "Add" and "k.m" in str(node.output)]


def test_scores_that_others_see_keep_what_is_added():
    for more in ("output", "reader"):
        network = Network()
        keys_of(network)
        if more == "reader":
            network.node("Sigmoid", ["scores"], "seen")
        assert len(additions(network, ("p.a", "scores" if more == "output" else "seen"))) == 1


def test_a_softmax_over_another_axis_forgets_nothing():
    network = Network()
    keys_of(network)
    for node in network.nodes:
        if node.op_type == "Softmax":
            node.attribute[0].i = 1
    assert len(additions(network)) == 1


def test_before_opset_13_a_softmax_from_another_axis_on_is_over_several():
    network = Network(opset=11)
    keys_of(network)
    for node in network.nodes:
        if node.op_type == "Softmax":
            node.attribute[0].i = 1
    assert len(additions(network)) == 1


def test_a_factor_for_each_key_stops_what_drifts():
    network = Network()
    keys_of(network, behind=[("Mul", network.weight("each", TOKENS))])
    assert len(additions(network)) == 1


def test_a_mask_in_the_place_of_scores_stops_what_drifts():
    network = Network()
    keys_of(network)
    place = next(index for index, node in enumerate(network.nodes) if node.op_type == "Softmax")
    network.nodes[place].input[0] = "masked"
    network.constant("kept", np.tri(TOKENS), "bool")
    network.node("Where", ["kept", "scores", network.constant("never", -1e4)], "masked")
    network.nodes.insert(place, network.nodes.pop())
    assert len(additions(network)) == 1


@pytest.mark.parametrize("mask", [-1e4, -np.inf], ids=str)
def test_masks_that_are_added_let_drift_pass(mask):
    """Minus infinity stays what it is."""
    network = Network()
    hidden = np.where(np.tri(TOKENS), 0.0, mask)
    keys_of(network, behind=[("Add", network.constant("hidden", hidden))])
    assert additions(network) == []


@pytest.mark.parametrize("mask", [np.inf, np.nan], ids=str)
def test_masks_of_which_a_softmax_makes_no_number_stop_what_drifts(mask):
    network = Network()
    hidden = np.where(np.tri(TOKENS), 0.0, mask)
    keys_of(network, behind=[("Add", network.constant("hidden", hidden))])
    assert "k.m" in [
        node.output[0] for node in fold(network.model({"x": X}, ["p.a"])).model.graph.node if node.op_type == "Add"
    ]


@pytest.mark.parametrize("shape", [(TOKENS, TOKENS), (1, 1, TOKENS), (2, TOKENS, TOKENS)], ids=str)
@pytest.mark.parametrize("computed", [False, True])
def test_minus_infinity_in_the_place_of_scores_lets_drift_pass(shape, computed):
    network = Network()
    keys_of(network)
    place = next(index for index, node in enumerate(network.nodes) if node.op_type == "Softmax")
    network.nodes[place].input[0] = "masked"
    shown = np.ones(shape)
    shown[..., 1:] = np.arange(TOKENS - 1) % 2
    if not computed:
        network.constant("kept", shown, "bool")
    else:
        network.node("Greater", ["x", network.constant("zero", 0.0)], "chosen")
        network.node(
            "Slice",
            ["chosen", *(network.constant(n, v, "int64") for n, v in (("f", [0]), ("t", [TOKENS]), ("a", [2])))],
            "some",
        )
        network.node("Or", ["some", network.constant("always", np.arange(TOKENS) == 0, "bool")], "kept")
    network.node("Where", ["kept", "scores", network.constant("never", -np.inf)], "masked")
    behind = place + (4 if computed else 1)
    network.nodes[place : len(network.nodes)] = [
        *network.nodes[-(behind - place) :],
        *network.nodes[place : -(behind - place)],
    ]
    assert len(additions(network)) == 0


def test_a_value_behind_weights_that_are_no_softmax_keeps_its_shift():
    network = Network()
    normalised(network, "x")
    v = project(network, "n", "v", bias=False)
    network.node("Sigmoid", ["w"], "weights")
    network.node("MatMul", ["weights", v], "o")
    project(network, "o", "p", bias=True)
    folded = fold_and_compare(network.model({"x": X, "w": (2, TOKENS, TOKENS)}, ["p.a"]))
    assert [node.op_type for node in folded.model.graph.node].count("Add") == 2


def test_a_batch_norm_behind_attention_goes_to_the_values():
    network = Network()
    q, k, v = (project(network, "x", name, bias=True) for name in "qkv")
    attend(network, q, k, v)
    normalised(network, "o", "y")
    folded = fold_and_compare(network.model({"x": X}, ["y"]))
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == 11


def test_a_number_in_front_of_a_softmax_is_forgotten():
    network = Network()
    network.node("Add", ["x", network.weight("t", TOKENS, 1)], "n")
    network.node("Softmax", ["n"], "y", axis=-1)
    assert operators(fold_and_compare(network.model({"x": X}, ["y"])).model) == ["Softmax"]


def test_a_scale_in_front_of_a_softmax_stays():
    network = Network()
    network.batch_norm("x", "n", TOKENS)
    network.node("Softmax", ["n"], "y", axis=-1)
    assert_stays(network.model({"x": X}, ["y"]), Reason.GRAPH_INPUT)


def test_lengths_and_the_batch_need_not_be_known():
    network = Network()
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    attend(network, q, k, v)
    project(network, "o", "p", bias=True)
    model = network.model({"x": ("batch", "tokens", WIDTH)}, {"p.a": ["batch", "tokens", WIDTH]})
    assert fold_and_compare(model).batch_norms_left == 0


@pytest.mark.parametrize("seen", ["reader", "output"])
def test_what_else_sees_the_number_keeps_it(seen):
    network = Network()
    network.node("Add", ["x", network.weight("t", TOKENS, 1)], "a")
    network.node("Softmax", ["a"], "y", axis=-1)
    if seen == "reader":
        network.node("Relu", ["a"], "z")
    model = network.model({"x": X}, ["y", "z" if seen == "reader" else "a"])
    assert operators(fold_and_compare(model).model).count("Add") == 1


def test_over_several_axes_a_number_for_each_sample_is_forgotten():
    network = Network(opset=11)
    network.node("Add", ["x", network.weight("t", 2, 1, 1)], "a")
    network.node("Softmax", ["a"], "y", axis=1)
    assert operators(fold_and_compare(network.model({"x": X}, ["y"])).model) == ["Softmax"]


def test_one_tensor_as_query_key_and_value_keeps_its_map():
    network = Network()
    normalised(network, "x")
    attend(network, "n", "n", "n", output="y")
    assert fold_and_compare(network.model({"x": X}, ["y"])).batch_norms_left == 1


def test_a_product_of_a_tensor_and_itself_keeps_its_factors():
    network = Network()
    network.node("MatMul", ["x", network.weight("w", WIDTH, WIDTH)], "a")
    network.node("MatMul", ["a", "a"], "g")
    network.node("Mul", ["g", network.weight("c", WIDTH)], "y")
    model = network.model({"x": (2, WIDTH, WIDTH)}, ["y"])
    assert operators(fold_and_compare(model).model) == ["MatMul", "MatMul", "Mul"]


def fused(network, q, k, v, *, more=(), output="o", **attributes):
    given = {"q_num_heads": 2, "kv_num_heads": 2, **attributes}
    return network.node("Attention", [q, k, v, *more], output, **given)


@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"scale": 0.3}], ids=str)
def test_attention_in_one_node_forgets_and_passes_likewise(attributes):
    network = Network(opset=23, ir_version=11)
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    fused(network, q, k, v, **attributes)
    project(network, "o", "p", bias=True)
    model = network.model({"x": X}, ["p.a"])
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) - 1


def test_a_map_behind_attention_in_one_node_goes_to_the_values():
    network = Network(opset=23, ir_version=11)
    q, k, v = (project(network, "x", name, bias=True) for name in "qkv")
    fused(network, q, k, v)
    shifted(network, "o", "y")
    assert operators(fold_and_compare(network.model({"x": X}, ["y"])).model)[-1] == "Attention"


@pytest.mark.parametrize(("attributes", "mask"), [({"softcap": 2.0}, False), ({}, True)], ids=["softcap", "mask"])
def test_what_is_not_seen_by_the_softmax_alone_stays(attributes, mask):
    """Behind a softcap the scores are not what was added to; rows of a mask may leave nothing to sum."""
    network = Network(opset=23, ir_version=11)
    normalised(network, "x")
    q, k, v = (project(network, "n", name, bias=name == "q") for name in "qkv")
    fused(network, q, k, v, more=[network.constant("mask", np.tri(TOKENS), "bool")] if mask else [], **attributes)
    project(network, "o", "p", bias=True)
    folded = fold_and_compare(network.model({"x": X}, ["p.a"]))
    additions = [node.op_type for node in folded.model.graph.node].count("Add")
    assert (folded.batch_norms_left, additions) == (0, 3)


def test_groups_of_queries_share_values_whose_features_are_others():
    network = Network(opset=23, ir_version=11)
    normalised(network, "x")
    q = project(network, "x", "q", bias=True)
    k, v = (project(network, "x", name, bias=True, outputs=2) for name in "kv")
    fused(network, q, k, v, kv_num_heads=1)
    shifted(network, "o", "y")
    network.node("Relu", ["n"], "z")
    assert operators(fold_and_compare(network.model({"x": X}, ["y", "z"])).model).count("Mul") == 1
