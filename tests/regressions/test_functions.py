"""Model-local functions: a body is rewritten for every call or not at all, and a name alone makes no operator."""

import pytest
from onnx import AttributeProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import body, count_everywhere, function

SHAPE = [2, 3, 4, 4]
DOMAINS = {"local": 1}


def block(name: str = "Block", **options):
    """A function of one input with Conv, BN and their constants inside."""
    inner = Network(seed=3)
    inner.batch_norm(inner.node("Conv", ["a", inner.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    inner.node("Relu", ["n"], "r")
    return function("local", name, ["a"], ["r"], inner, **options)


def call(network: Network, source: str, output: str, op_type: str = "Block", **attributes) -> str:
    return network.node(op_type, [source], output, domain="local", **attributes)


def test_a_function_that_is_called_twice_folds_once():
    network = Network()
    call(network, call(network, "x", "once"), "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[block()], domains=DOMAINS))
    assert count_everywhere(folded.model, "BatchNormalization") == 0
    assert len(folded.folds) == 1


def test_a_function_that_calls_a_function():
    network = Network()
    call(network, "x", "y", "Outer")
    inner = Network()
    inner.node("Block", ["a"], "b", domain="local")
    inner.batch_norm(inner.node("Conv", ["b", inner.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    outer = function("local", "Outer", ["a"], ["n"], inner)
    outer.opset_import.append(helper.make_opsetid("local", 1))
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[outer, block()], domains=DOMAINS)
    assert count_everywhere(fold_and_compare(model).model, "BatchNormalization") == 0


def test_a_body_inside_a_function():
    branches = {}
    for seed, name in enumerate(("then_branch", "else_branch")):
        inner = Network(seed=seed)
        inner.batch_norm(inner.node("Conv", ["a", inner.weight("w", 3, 3, 1, 1)], "c"), "inside", 3)
        branches[name] = body(inner, {}, {"inside": SHAPE})
    outer = Network()
    outer.node("If", [outer.constant("condition", True, "bool")], "r", **branches)
    network = Network()
    call(network, "x", "y")
    local = function("local", "Block", ["a"], ["r"], outer)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert count_everywhere(folded.model, "BatchNormalization") == 0


def test_a_function_whose_weights_are_inputs():
    inner = Network()
    inner.node("Conv", ["a", "w"], "c")
    inner.batch_norm("c", "n", 3)
    local = function("local", "Block", ["a", "w"], ["n"], inner)
    network = Network()
    network.node("Block", ["x", network.weight("w1", 3, 3, 1, 1)], "once", domain="local")
    network.node("Block", ["once", network.weight("w2", 3, 3, 1, 1)], "y", domain="local")
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert len(folded.kept) == 1


def test_a_function_whose_statistics_are_inputs():
    inner = Network()
    inner.node("Conv", ["a", inner.weight("w", 3, 3, 1, 1)], "c")
    names = ["scale", "bias", "mean", "var"]
    inner.node("BatchNormalization", ["c", *names], "n")
    local = function("local", "Block", ["a", *names], ["n"], inner)
    network = Network()
    network.batch_norm("x", "y", 3)
    network.nodes[-1].op_type, network.nodes[-1].domain = "Block", "local"
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert folded.reasons == [Reason.DYNAMIC_PARAMETER]


def test_an_epsilon_that_the_caller_gives():
    local = block(attributes=["epsilon"])
    (batch_norm,) = (node for node in local.node if node.op_type == "BatchNormalization")
    batch_norm.attribute.add(name="epsilon", type=AttributeProto.FLOAT, ref_attr_name="epsilon")
    network = Network()
    call(network, call(network, "x", "once", epsilon=0.5), "y", epsilon=2.0)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert folded.reasons == [Reason.DYNAMIC_PARAMETER]


def test_a_constant_that_the_caller_gives():
    """A Constant node whose value is an attribute of the call."""
    inner = Network()
    inner.node("Constant", [], "k", name="")
    inner.nodes[-1].attribute.add(name="value_float", type=AttributeProto.FLOAT, ref_attr_name="factor")
    inner.node("Conv", ["a", inner.weight("w", 3, 3, 1, 1)], "c")
    inner.node("Mul", ["c", "k"], "n")
    local = function("local", "Block", ["a"], ["n"], inner, attributes=["factor"])
    network = Network()
    call(network, call(network, "x", "once", factor=3.0), "y", factor=-2.0)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert folded.model == folded.original


def test_a_map_does_not_enter_or_leave_a_function():
    network = Network()
    network.batch_norm(call(network, "x", "inside"), "y", 3)
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[block()], domains=DOMAINS)
    folded = fold_and_compare(model)
    assert folded.reasons == [Reason.FOREIGN_DOMAIN]


def test_a_matmul_in_a_function_of_two_ranks():
    """The same body sees rank 2, where the BN's axis is the MatMul's output axis, and rank 3, where it is not."""
    inner = Network()
    inner.batch_norm(inner.node("MatMul", ["a", inner.weight("w", 3, 3)], "m"), "n", 3)
    local = function("local", "Block", ["a"], ["n"], inner)
    network = Network()
    call(network, "x", "y")
    call(network, "x3", "z")
    model = network.model(
        {"x": [4, 3], "x3": [4, 3, 3]}, {"y": [4, 3], "z": [4, 3, 3]}, functions=[local], domains=DOMAINS
    )
    assert fold_and_compare(model).reasons == [Reason.UNKNOWN_SHAPE]


@pytest.mark.parametrize("domain", ["", "local"])
def test_a_function_that_is_called_conv(domain):
    """It computes something else than ONNX's Conv."""
    inner = Network()
    inner.node("Sigmoid", ["a"], "s")
    inner.node("Mul", ["s", inner.constant("two", 2.0)], "d")
    local = function(domain, "Conv", ["a", "w"], ["d"], inner)
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c", domain=domain)
    network.batch_norm("c", "y", 3)
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS, check=domain != "")
    assert fold(model).reasons == [Reason.FOREIGN_DOMAIN]


def test_a_function_that_is_called_batch_normalization():
    inner = Network()
    inner.node("Relu", ["a"], "r")
    local = function("local", "BatchNormalization", ["a", "s", "b", "m", "v"], ["r"], inner)
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 3, domain="local")
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert folded.model == folded.original


@pytest.mark.parametrize("op_type", ["Identity", "Transpose", "Cast", "Reshape"])
def test_a_function_named_like_an_operator_on_constants(op_type):
    """The weight is what the function makes of `w`, not `w`."""
    inner = Network()
    inner.node("Neg", ["a"], "minus")
    network = Network()
    network.node(op_type, [network.weight("w", 3, 3, 1, 1)], "minus_w", domain="local")
    network.batch_norm(network.node("Conv", ["x", "minus_w"], "c"), "y", 3)
    local = function("local", op_type, ["a"], ["minus"], inner)
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains=DOMAINS))
    assert folded.reasons == [Reason.DYNAMIC_WEIGHT]


def test_functions_of_one_name_in_two_domains():
    """Only one of the two is called; both fold, and neither takes the other's constants."""
    network = Network()
    call(network, "x", "y")
    other = block()
    other.domain = "elsewhere"
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[block(), other], domains={"local": 1, "elsewhere": 1})
    assert count_everywhere(fold_and_compare(model).model, "BatchNormalization") == 0
