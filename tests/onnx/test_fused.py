"""Convolutions and products of com.microsoft with an activation of their own."""

import numpy as np
import onnx
import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_stays, decode_all, operators

DOMAIN = "com.microsoft"
IMAGE = (2, 3, 5, 5)
ACTIVATIONS = [
    {},
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "LeakyRelu", "activation_params": [0.3]},
    {"activation": "Clip", "activation_params": [-1.0, 2.0]},
    {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
]
LINEAR = [{}]
RAMPS = [ACTIVATIONS[1], ACTIVATIONS[4]]
CURVED = [entry for entry in ACTIVATIONS if entry not in LINEAR + RAMPS]


def name_of(attributes):
    return attributes.get("activation", "none")


def model_of(network, inputs, outputs):
    shapes = {name: [f"d{axis}" for axis in range(rank)] for name, rank in outputs.items()}
    return network.model(inputs, shapes, domains={DOMAIN: 1}, check=False)


def fused_conv(network, source, output, *, bias=True, addend="", **attributes):
    inputs = [source, network.weight(f"{output}.w", 4, 3, 1, 1), network.weight(f"{output}.b", 4) if bias else ""]
    return network.node("FusedConv", [*inputs, addend] if addend else inputs, output, domain=DOMAIN, **attributes)


@pytest.mark.parametrize("attributes", ACTIVATIONS, ids=name_of)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("adds", [True, False])
def test_a_batch_norm_in_front_goes_in_whatever_comes_behind(adds, bias, attributes):
    network = Network()
    network.batch_norm("x", "n", 3)
    fused_conv(network, "n", "y", bias=bias, addend="z" if adds else "", **attributes)
    inputs = {"x": IMAGE, **({"z": (2, 4, 5, 5)} if adds else {})}
    assert operators(fold_and_compare(model_of(network, inputs, {"y": 4})).model) == ["FusedConv"]


@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_behind_goes_in_where_there_is_no_activation(bias):
    network = Network()
    fused_conv(network, "x", "c", bias=bias)
    network.batch_norm("c", "y", 4)
    assert operators(fold_and_compare(model_of(network, {"x": IMAGE}, {"y": 4})).model) == ["FusedConv"]


def test_its_scale_goes_to_what_is_added_too():
    network = Network()
    network.node("Conv", ["x", network.weight("v", 4, 3, 1, 1)], "z")
    fused_conv(network, "x", "c", addend="z")
    network.batch_norm("c", "y", 4)
    assert operators(fold_and_compare(model_of(network, {"x": IMAGE}, {"y": 4})).model) == ["Conv", "FusedConv"]


def test_what_is_added_and_is_an_input_keeps_it():
    network = Network()
    fused_conv(network, "x", "c", addend="z")
    network.batch_norm("c", "y", 4)
    model = model_of(network, {"x": IMAGE, "z": (2, 4, 5, 5)}, {"y": 4})
    assert_stays(model, Reason.GRAPH_INPUT)


def test_a_tensor_that_is_both_multiplied_and_added_keeps_it():
    network = Network()
    network.node("Conv", ["x", network.weight("v", 3, 3, 1, 1)], "a")
    network.node("FusedConv", ["a", network.weight("w", 3, 3, 1, 1), "", "a"], "c", domain=DOMAIN)
    network.batch_norm("c", "y", 3)
    assert_stays(model_of(network, {"x": IMAGE}, {"y": 4}), Reason.OTHER_CONSUMERS)


def test_a_shift_on_what_is_added_goes_into_the_bias():
    network = Network()
    network.node("Add", ["z", network.weight("t", 4, 1, 1)], "shifted")
    fused_conv(network, "x", "y", addend="shifted", activation="Sigmoid")
    folded = fold_and_compare(model_of(network, {"x": IMAGE, "z": (2, 4, 5, 5)}, {"y": 4}))
    assert operators(folded.model) == ["FusedConv"]


@pytest.mark.parametrize("attributes", RAMPS, ids=name_of)
def test_a_positive_scale_passes_a_ramp(attributes):
    network = Network()
    fused_conv(network, "x", "c", **attributes)
    network.node("Mul", ["c", network.constant("k", [[[0.5]], [[2.0]], [[0.0]], [[3.0]]])], "y")
    assert operators(fold_and_compare(model_of(network, {"x": IMAGE}, {"y": 4})).model) == ["FusedConv"]


@pytest.mark.parametrize("attributes", RAMPS, ids=name_of)
def test_a_ramp_stops_a_batch_norm(attributes):
    network = Network()
    fused_conv(network, "x", "c", **attributes)
    network.batch_norm("c", "y", 4)
    evidence = f"the {attributes['activation']} in com.microsoft::FusedConv bends at zero"
    assert_stays(model_of(network, {"x": IMAGE}, {"y": 4}), Reason.SHIFT_CANNOT_PASS, evidence)


@pytest.mark.parametrize("attributes", CURVED, ids=name_of)
def test_other_activations_stop_everything(attributes):
    network = Network()
    fused_conv(network, "x", "c", **attributes)
    network.batch_norm("c", "y", 4)
    evidence = f"the {attributes['activation']} in com.microsoft::FusedConv is not linear"
    assert_stays(model_of(network, {"x": IMAGE}, {"y": 4}), Reason.NOT_LINEAR, evidence)


def test_zero_padding_stops_a_shift_in_front():
    network = Network()
    network.batch_norm("x", "n", 3)
    fused_conv(network, "n", "y", pads=[1, 1, 1, 1], activation="Relu")
    assert_stays(model_of(network, {"x": IMAGE}, {"y": 4}), Reason.GRAPH_INPUT)


def test_integers_with_an_integer_bias_take_no_shift_behind_the_activation():
    network = Network()
    random = np.random.default_rng(1)
    network.initializers["q"] = random.integers(-100, 100, (4, 3, 1, 1)).astype(np.int8)
    network.initializers["qb"] = random.integers(-100, 100, 4).astype(np.int32)
    network.constant("s", 0.01), network.constant("sb", 0.02)
    network.node("DequantizeLinear", ["q", "s"], "w")
    network.node("DequantizeLinear", ["qb", "sb"], "b")
    network.node("Add", ["x", network.weight("t", 3, 1, 1)], "n")
    network.node("FusedConv", ["n", "w", "b"], "y", domain=DOMAIN, activation="Relu")
    model = model_of(network, {"x": IMAGE}, {"y": 4})
    folded = fold(model)
    (kept,) = folded.kept
    assert Reason.NO_BIAS in {refusal.reason for refusal in kept.refusals}
    assert folded.model.SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("attributes", [{"activation": "Relu"}, {"activation": "Sigmoid"}], ids=name_of)
@pytest.mark.parametrize("transposed", [{}, {"transB": 1}, {"transA": 1}], ids=str)
def test_a_fused_gemm_takes_maps_in_front(transposed, attributes):
    network = Network()
    weight = network.weight("w", *((5, 4) if "transB" in transposed else (4, 5)))
    network.node("Mul", ["x", network.weight("m", *((4, 1) if "transA" in transposed else (4,)))], "a")
    network.node("Add", ["a", network.weight("t", *((4, 1) if "transA" in transposed else (4,)))], "n")
    given = {**transposed, **attributes, "alpha": 0.5, "beta": 2.0}
    network.node("FusedGemm", ["n", weight, network.weight("c", 5)], "y", domain=DOMAIN, **given)
    shape = (4, 3) if "transA" in transposed else (3, 4)
    assert operators(fold_and_compare(model_of(network, {"x": shape}, {"y": 2})).model) == ["FusedGemm"]


def test_a_positive_scale_passes_the_ramp_of_a_fused_gemm():
    """onnxruntime has no FusedGemm without an activation."""
    network = Network()
    inputs = ["x", network.weight("w", 4, 5), network.weight("b", 5)]
    given = {"activation": "LeakyRelu", "activation_alpha": 0.2, "beta": 0.5}
    network.node("FusedGemm", inputs, "c", domain=DOMAIN, **given)
    network.node("Mul", ["c", network.constant("k", [0.5, 2.0, 0.0, 3.0, 1.5])], "y")
    assert operators(fold_and_compare(model_of(network, {"x": (3, 4)}, {"y": 2})).model) == ["FusedGemm"]


def test_an_unknown_activation_has_no_rule():
    network = Network()
    fused_conv(network, "x", "c", activation="Swoosh")
    network.batch_norm("c", "y", 4)
    assert_stays(model_of(network, {"x": IMAGE}, {"y": 4}), Reason.UNKNOWN_OPERATOR, "'Swoosh'")


def nhwc(network, source, output, *, addend="", **attributes):
    inputs = [source, network.weight(f"{output}.w", 4, 3, 3, 3), "", addend]
    return network.node("NhwcFusedConv", inputs[: 4 if addend else 2], output, domain=DOMAIN, **attributes)


def of_channels_in_front(model):
    """The same with FusedConv between two Transposes, which onnxruntime has on every processor."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = []
    for node in model.graph.node:
        if node.op_type != "NhwcFusedConv":
            nodes.append(node)
            continue
        inner = onnx.NodeProto.FromString(node.SerializeToString())
        inner.op_type = "FusedConv"
        for slot in (0, 3):
            if slot < len(node.input) and node.input[slot]:
                inner.input[slot] = f"{node.name}.{slot}"
                nodes.append(helper.make_node("Transpose", [node.input[slot]], [inner.input[slot]], perm=[0, 3, 1, 2]))
        inner.output[0] = f"{node.name}.y"
        nodes += [inner, helper.make_node("Transpose", [inner.output[0]], [node.output[0]], perm=[0, 2, 3, 1])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize("adds", [True, False])
def test_channels_at_the_end_take_maps_on_both_sides(adds):
    network = Network()
    network.node("Mul", ["x", network.weight("m", 3)], "a")
    network.node("Add", ["a", network.weight("t", 3)], "n")
    if adds:
        network.node("MatMul", ["x", network.weight("v", 3, 4)], "z")
        network.node("Slice", ["z", *(network.constant(key, values, "int64") for key, values in
                               (("from", [1, 1]), ("to", [4, 4]), ("axes", [1, 2])))], "cut")  # fmt: skip
    nhwc(network, "n", "c", addend="cut" if adds else "")
    network.node("Mul", ["c", network.weight("k", 4)], "scaled")
    network.node("Add", ["scaled", network.weight("b", 4)], "y")
    model = model_of(network, {"x": (2, 5, 5, 3)}, {"y": 4})
    folded = fold(model).model
    assert operators(folded) == [*["MatMul", "Slice"] * adds, "NhwcFusedConv"]
    assert_equal_outputs(of_channels_in_front(model), of_channels_in_front(folded))


AMBIGUOUS = {
    "alike": ((4, 3, 3, 3), (2, 5, 5, 3), [3, 3]),
    "unknown": ((4, 2, 3, 3), (2, 5, 5, "channels"), None),
    "none fits": ((4, 3, 3, 2), (2, 5, 5, 7), [3, 3]),
}


@pytest.mark.parametrize(("weight", "shape", "kernel"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_layout_that_is_published_one_way_and_run_another_has_no_rule(weight, shape, kernel):
    network = Network()
    given = {} if kernel is None else {"kernel_shape": kernel}
    network.node("NhwcConv", ["x", network.weight("w", *weight)], "y", domain=DOMAIN, **given)
    meaning = decode_all(model_of(network, {"x": shape}, {"y": 4}))["y"]
    assert meaning.reason is Reason.NOT_LINEAR
    assert "neither its kernel_shape nor what it reads says which" in meaning.evidence


CERTAIN = {
    "behind": ((4, 3, 3, 2), [3, 3], 1),
    "in front": ((4, 2, 3, 3), None, 1),
    "one place": ((4, 1, 1, 2), [1, 1], 1),
    "groups": ((4, 3, 1, 1), [3, 1], 2),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("weight", "kernel", "group"), CERTAIN.values(), ids=CERTAIN)
def test_a_layout_that_is_certain_takes_maps_on_both_sides(weight, kernel, group, named):
    """onnxruntime has no kernel for it on this processor: a Conv between Transposes is what it means."""
    network = Network()
    network.node("Mul", ["x", network.weight("m", 2)], "n")
    given = {"kernel_shape": kernel} if named and kernel else {}
    inputs = ["n", network.weight("w", *weight), network.weight("v", 4)]
    network.node("NhwcConv", inputs, "c", domain=DOMAIN, group=group, **given)
    network.node("Mul", ["c", network.weight("k", 4)], "scaled")
    network.node("Add", ["scaled", network.weight("b", 4)], "y")
    model = model_of(network, {"x": (2, 5, 5, 2)}, {"y": 4})
    folded = fold(model).model
    assert operators(folded) == ["NhwcConv"]
    behind = 3 if weight[3] == 2 // group and (weight[1] != 2 // group) else 1
    assert_equal_outputs(convolved_in_front(model, behind), convolved_in_front(folded, behind))


def convolved_in_front(model, inputs_at):
    """The same with Conv between two Transposes."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    place = next(index for index, node in enumerate(model.graph.node) if node.op_type == "NhwcConv")
    node = model.graph.node[place]
    inner = onnx.NodeProto.FromString(node.SerializeToString())
    inner.op_type, inner.domain, inner.input[0], inner.output[0] = "Conv", "", "front", "made"
    around = [
        helper.make_node("Transpose", [node.input[0]], ["front"], perm=[0, 3, 1, 2]),
        inner,
        helper.make_node("Transpose", ["made"], [node.output[0]], perm=[0, 2, 3, 1]),
    ]
    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            moved = np.ascontiguousarray(np.moveaxis(onnx.numpy_helper.to_array(tensor), inputs_at, 1))
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    nodes = [*model.graph.node[:place], *around, *model.graph.node[place + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def test_a_second_addition_behind_a_product_comes_before_the_first():
    """Before opset 10 no length is known behind a Slice, and so the first cannot take what the second adds."""
    network = Network(opset=9)
    offset, scale = [0.5, -2.0, 3.0, 1.0], [2.0, -1.0, 0.5, 1.5]
    network.node("Scaler", ["x"], "n", domain="ai.onnx.ml", offset=offset, scale=scale)
    network.node("Slice", ["n"], "s", axes=[1], starts=[1], ends=[4])
    network.node("Gemm", ["s", network.weight("v", 3, 2), network.weight("c", 2)], "z")
    network.node("FusedMatMul", ["s", network.weight("w", 3, 4)], "p", domain=DOMAIN)
    network.batch_norm("p", "b", 4)
    network.node("Sigmoid", ["b"], "a")
    inputs = ["a", network.weight("k", 4, 2), network.weight("d", 2)]
    network.node("FusedGemm", inputs, "y", domain=DOMAIN, activation="Relu")
    shapes = {"y": ["n", "m"], "z": ["n", 2]}
    domains = {DOMAIN: 1, "ai.onnx.ml": 3}
    folded = fold_and_compare(network.model({"x": (2, 4)}, shapes, domains=domains, check=False))
    assert operators(folded.model) == ["Slice", "Gemm", "FusedMatMul", "Add", "Add", "Sigmoid", "FusedGemm"]
