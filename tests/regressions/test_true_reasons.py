"""What is said of a node that stays is true of it, and advice keeps the function of the network."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import bnfold
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import decode_all
from tests.regressions.bodies import function

SHAPE = [2, 3, 4, 4]


def refusals(model, **options):
    """Those of the first BatchNorm that stays."""
    return next(entry for entry in fold(model, **options).kept if entry.is_batch_norm).refusals


def test_the_third_direction_has_its_reason_too():
    """The scale could go into the product before the Relu, the shift to the two products behind the sum."""
    network = Network()
    network.node("Relu", [network.node("MatMul", ["x", network.weight("w", 3, 4)], "m")], "r")
    network.node("Transpose", ["r"], "t", perm=[0, 2, 1])
    network.batch_norm("t", "n", 4)
    network.constant("n.scale", [0.5, 1.0, 2.0, 0.25])
    network.node("Add", [network.node("Transpose", ["n"], "back", perm=[0, 2, 1]), "other"], "s")
    for name in ("y", "z"):
        network.node("MatMul", ["s", network.weight(f"{name}.w", 4, 3)], name)
    model = network.model({"x": (2, 5, 3), "other": (2, 5, 4)}, ["y", "z"])
    upstream, downstream, both, *_ = refusals(model)
    assert (upstream.reason, downstream.reason) == (Reason.SHIFT_CANNOT_PASS, Reason.OTHER_BRANCH)
    assert both.reason is Reason.NO_BIAS
    assert both.evidence.startswith("with the scale in front and the shift behind, MatMul has no bias, and 2 nodes")


def test_a_reason_that_is_that_of_the_direction_before_is_not_said_twice():
    network = Network()
    network.node("Relu", [network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")], "r")
    network.batch_norm("r", "n", 3)
    network.constant("n.scale", [0.5, 1.0, 2.0])
    network.node("Relu", ["n"], "y")
    assert [entry.reason for entry in refusals(network.model({"x": SHAPE}, ["y"]))] == [Reason.SHIFT_CANNOT_PASS] * 2


def test_a_second_reader_gets_no_advice_that_would_change_the_network():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "n", 3)
    network.node("Sigmoid", ["n"], "y")
    network.node("Sigmoid", ["c"], "z")
    first, *_ = refusals(network.model({"x": SHAPE}, ["y", "z"]))
    assert (first.reason, first.hint) == (Reason.OTHER_CONSUMERS, "")


@pytest.mark.parametrize("also_read", [True, False])
def test_an_output_that_nothing_else_reads_cannot_be_taken_off(also_read):
    network = Network()
    network.batch_norm("x", "y", 3)
    if also_read:
        network.node("Gemm", [network.node("Flatten", ["y"], "f"), network.weight("w", 48, 5)], "z")
    _, behind = refusals(network.model({"x": SHAPE}, ["y", "z"] if also_read else ["y"]))
    assert behind.reason is Reason.GRAPH_OUTPUT
    assert bool(behind.hint) is also_read


def test_one_addition_is_called_one():
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, 4)], "m")
    network.node("Add", ["m", network.weight("k", 4)], "y")
    (kept,) = fold(network.model({"x": (2, 5, 3)}, ["y"])).kept
    assert kept.refusals[0].evidence == "MatMul has no bias, and 1 addition would cost as much as what goes"


def test_a_batch_norm_between_quantizers_stays_because_of_the_rounding():
    network = Network()
    scale, zero = network.constant("s", 0.05), network.constant("z", 0, "int8")
    network.node("QuantizeLinear", ["x", scale, zero], "q")
    network.node("DequantizeLinear", ["q", scale, zero], "d")
    network.batch_norm("d", "n", 3)
    network.node("QuantizeLinear", ["n", scale, zero], "p")
    network.node("DequantizeLinear", ["p", scale, zero], "y")
    before, behind = refusals(network.model({"x": SHAPE}, ["y"]))
    assert (before.reason, behind.reason) == (Reason.NOT_LINEAR, Reason.NOT_LINEAR)
    assert "rounded" in before.evidence
    assert "rounds" in behind.evidence


class TestUnknownRank:
    def test_an_input_without_a_shape_is_named_and_the_advice_helps(self):
        network = Network()
        network.node("Relu", [network.node("Neg", ["x"], "n")], "r")
        network.batch_norm("r", "m", 3)
        network.node("MatMul", ["m", network.weight("w", 3, 2)], "y")
        model = network.model({"x": (2, 3)}, ["y"])
        model.graph.input[0].type.tensor_type.ClearField("shape")
        first = bnfold.explain(model).outcome.kept[0].refusals[0]
        assert first.reason is Reason.UNKNOWN_SHAPE
        assert first.hint == "give input 'x' a shape, if only with symbolic dimensions"
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"]))
        assert fold(model).batch_norms_left == 0

    def test_a_node_that_leaves_the_rank_open_is_named_and_no_shape_of_an_input_would_help(self):
        network = Network()
        network.node("Reshape", ["x", "target"], "r")
        network.node("Relu", ["r"], "s")
        network.batch_norm("s", "y", 3)
        model = network.model({"x": SHAPE}, {"y": ["a", "b"]}, check=False)
        model.graph.input.append(helper.make_tensor_value_info("target", TensorProto.INT64, ["length"]))
        (first,) = refusals(model)
        assert (first.reason, first.hint) == (Reason.UNKNOWN_SHAPE, "")
        assert "it is left open by 'r_node' (Reshape)" in first.evidence

    def test_a_model_on_which_inference_gives_up_is_called_that(self):
        """Its inputs have shapes: to ask for some would be no help."""
        network = Network()
        network.node("Concat", ["x", "k"], "odd", axis=7)
        network.node("Neg", ["x"], "n")
        network.batch_norm("n", "y", 3)
        network.weight("k", 2, 3)
        model = network.model({"x": SHAPE}, {"y": SHAPE}, check=False)
        for entry in refusals(model):
            assert "give input" not in entry.hint

    def test_in_a_function_the_advice_is_to_inline_it(self):
        inner = Network()
        inner.node("Relu", ["a"], "r")
        inner.batch_norm("r", "b", 3)
        network = Network()
        network.node("Block", ["x"], "y", domain="local")
        local = function("local", "Block", ["a"], ["b"], inner)
        model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains={"local": 1})
        (first,) = refusals(model)
        assert first.reason is Reason.UNKNOWN_SHAPE
        assert "inline the functions" in first.hint


def test_parameters_that_the_caller_of_a_function_gives_can_be_inlined():
    inner = Network()
    inner.node("Conv", ["a", "w"], "c")
    inner.node("BatchNormalization", ["c", "g", "h", "m", "v"], "b")
    network = Network()
    for number in range(2):
        parameters = [network.weight(f"w{number}", 3, 3, 1, 1)]
        parameters += [network.constant(f"p{number}{slot}", np.ones(3) + slot) for slot in range(4)]
        network.node("Block", ["x", *parameters], f"y{number}", domain="local")
    local = function("local", "Block", ["a", "w", "g", "h", "m", "v"], ["b"], inner)
    outputs = {"y0": SHAPE, "y1": SHAPE}
    model = network.model({"x": SHAPE}, outputs, functions=[local], domains={"local": 1})
    (first,) = refusals(model)
    assert first.reason is Reason.DYNAMIC_PARAMETER
    assert "inline the functions" in first.hint
    from onnx.inliner import inline_local_functions

    assert fold_and_compare(inline_local_functions(model)).batch_norms_left == 0


@pytest.mark.parametrize(("readers", "said"), [(3, "'r2' (Relu)"), (6, "'r2' (Relu) and 3 more")])
def test_many_readers_are_counted(readers, said):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "n", 3)
    outputs = [network.node("Sigmoid", ["n"], "y")]
    outputs += [network.node("Relu", ["c"], f"z{number}", name=f"r{number}") for number in range(readers)]
    first, *_ = refusals(network.model({"x": SHAPE}, outputs))
    assert first.evidence == f"'c' is also read by 'r0' (Relu), 'r1' (Relu), {said}"


def test_a_product_of_integers_contradicts_no_specification():
    network = Network()
    network.node("MatMul", ["x", network.constant("w", np.ones((4, 4)), "int32")], "m")
    network.node("Cast", ["m"], "f", to=TensorProto.FLOAT)
    network.node("Reshape", ["f", network.constant("s", [2, 4, 1, 1], "int64")], "r")
    network.batch_norm("r", "y", 4)
    model = network.model({"x": [2, 4]}, ["y"], dtype="int32", check=False)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    meanings = decode_all(model)
    assert meanings["m"].reason is Reason.NOT_LINEAR
    assert "int32" in meanings["m"].evidence


def test_a_dropout_that_trains_is_not_called_a_batch_norm():
    assert "BatchNorm" not in Reason.TRAINING_MODE.meaning
    assert "BatchNorm" not in Reason.STATISTICS_OUTPUTS.meaning


def test_behind_a_function_the_advice_is_to_inline_it():
    inner = Network()
    inner.node("Conv", ["a", inner.node("Identity", ["w"], "same")], "b")
    network = Network()
    network.node("Block", ["x", network.weight("k", 3, 3, 1, 1)], "c", domain="local")
    network.batch_norm("c", "y", 3)
    local = function("local", "Block", ["a", "w"], ["b"], inner)
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains={"local": 1})
    first = refusals(model)[0]
    assert first.reason is Reason.FOREIGN_DOMAIN
    assert "inline the functions" in first.hint
