"""Parts cut out of their graphs: what no end-to-end comparison can see."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.verifier import VerifyOptions, check
from tests.networks import Network
from tests.verifier.small_models import FLOAT, model, node
from tests.verifier.spoiling import of_shape, spoiled


def dead_channel():
    """A Relu keeps channel 0 at zero, whatever comes in: what the second Conv does with it shows nowhere."""
    net = Network(seed=3)
    net.node("Conv", ["x", net.weight("w1", 4, 3, 3, 3), net.constant("b1", [-1e4, 0, 0, 0])], "c1")
    net.node("Relu", ["c1"], "r")
    net.node("Conv", ["r", net.weight("w2", 4, 1, 3, 3)], "c2", group=4)
    net.batch_norm("c2", "n", 4)
    net.node("Sigmoid", ["n"], "y")
    return net.model({"x": [1, 3, 8, 8]}, ["y"])


def test_a_fault_behind_a_dead_channel_is_found():
    original = dead_channel()
    folded = bnfold.fold(original, verify=None).model
    assert bnfold.verify(original, folded).passed

    def one_percent(weight):
        weight[3] *= 1.01

    wrong = spoiled(folded, of_shape([4, 1, 3, 3]), one_percent)
    verdict = bnfold.verify(original, wrong)
    assert not verdict.passed
    assert "channel 3 " in verdict.problem


def test_samples_alone_decide_where_probes_are_off():
    def network(factor):
        nodes = [node("Relu", "x", "r"), node("Neg", "r", "n"), node("Relu", "n", "z"), node("Mul", "z c", "y")]
        port = (FLOAT, [2, 3])
        return model(nodes, {"x": port}, {"y": port}, {"c": np.float32(factor)})

    assert not check(network(1), network(2)).passed  # z is always 0 here, but need not be
    assert check(network(1), network(2), VerifyOptions(probe=False)).passed


@pytest.mark.parametrize("eps_factor", [0.0, 2.0])
def test_an_epsilon_that_moves_a_scale_by_a_few_millionths_is_found(eps_factor):
    net = Network(seed=1)
    net.node("Conv", ["x", net.weight("w", 8, 16, 3, 3)], "c")
    names = {"scale": np.ones(8), "bias": np.zeros(8), "mean": np.zeros(8), "var": np.full(8, 1.0)}
    inputs = [net.constant(f"n.{name}", values) for name, values in names.items()]
    net.node("BatchNormalization", ["c", *inputs], "n", epsilon=1e-5)
    net.node("Relu", ["n"], "y")
    original = net.model({"x": [1, 16, 14, 14]}, ["y"])
    folded = bnfold.fold(original, verify=None).model
    ratio = np.sqrt((1 + 1e-5) / (1 + eps_factor * 1e-5))
    assert abs(ratio - 1) < 6e-6

    def other_epsilon(weight):
        weight *= ratio

    assert bnfold.verify(original, folded).passed
    verdict = bnfold.verify(original, spoiled(folded, of_shape([8, 16, 3, 3]), other_epsilon))
    assert not verdict.passed
    assert " differs: " in verdict.problem


def test_where_a_mean_cancels_float64_has_the_last_word():
    # The original subtracts 1e5 from 1e5 and has three digits left; the folded bias has all of them.
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 3, 1, 1), net.constant("b", np.full(4, 1e5))], "c")
    names = {"scale": np.ones(4), "bias": np.zeros(4), "mean": np.full(4, 1e5), "var": np.ones(4)}
    net.node("BatchNormalization", ["c", *(net.constant(f"n.{name}", values) for name, values in names.items())], "y")
    original = net.model({"x": [1, 3, 9, 9]}, ["y"])
    result = bnfold.fold(original)
    (tensor,) = result.report.verification.tensors
    assert tensor.passed
    assert tensor.max_rel > 1e-5


def test_a_part_that_does_not_run_by_itself_spoils_no_other():
    # The table's index comes out of floats: on values of the check's own choice it leaves the table.
    def network(factor, shift):
        nodes = [
            node("Sigmoid", "x", "s"), node("Floor", "s", "f"), node("Cast", "f", "i", to=7),
            node("Gather", "t i", "g"), node("Mul", "x c", "m"),
        ]  # fmt: skip
        port = (FLOAT, [2, 3])
        weights = {"t": np.float32([1, 2 + shift]), "c": np.float32(factor)}
        return model(nodes, {"x": port}, {"g": port, "m": port}, weights)

    verdict = check(network(1, 0), network(1, 1))
    assert not verdict.passed
    assert [(tensor.name, tensor.passed) for tensor in verdict.tensors] == [("g", False)]
    verdict = check(network(1, 0), network(1.01, 0))
    assert verdict.problem.startswith("tensor 'm': channel ")


def test_a_shape_behind_a_fold_is_compared_like_everything_else():
    net = Network(seed=5)
    net.batch_norm(net.node("Conv", ["x", net.weight("w", 4, 3, 3, 3)], "c"), "n", 4)
    net.node("Relu", ["n"], "y")
    net.node("Shape", ["n"], "s")
    net.node("Cast", ["s"], "z", to=FLOAT)
    original = net.model({"x": [1, 3, 6, 6]}, ["y", "z"])
    verdict = bnfold.verify(original, bnfold.fold(original, verify=None).model)
    assert verdict.passed
    assert verdict.warnings == ()


def test_parts_that_cannot_be_cut_out_are_counted():
    def network(inner, scale):
        nodes = [node("RandomNormalLike", "x", inner, scale=scale), node("Add", f"x {inner}", "y")]
        port = (FLOAT, [2, 3])
        return model(nodes, {"x": port}, {"y": port})

    verdict = check(network("a", 1e-30), network("b", 2e-30), VerifyOptions(samples=3))
    assert verdict.passed
    assert verdict.warnings == ("1 of 1 changed tensors were compared on the samples only",)


def cancelling(seed: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """A MatMul, a BatchNorm without shift, and a row that one of the weight's columns hardly sees."""
    net = Network(seed=seed)
    weight = net.random.normal(size=(1024, 200)).astype(np.float32)
    net.constant("w", weight)
    net.node("MatMul", ["x", "w"], "m")
    names = {"scale": net.random.normal(size=200), "bias": np.zeros(200), "mean": np.zeros(200), "var": np.ones(200)}
    net.node("BatchNormalization", ["m", *(net.constant(f"n.{name}", values) for name, values in names.items())], "n")
    net.node("Relu", ["n"], "y")
    column = weight[:, 5].astype(np.float64)
    row = net.random.normal(size=1024)
    row -= column * ((column @ row) - 0.3) / (column @ column)
    return net.model({"x": [1, 1024]}, ["y"]), row.astype(np.float32)[None]


@pytest.mark.parametrize("seed", [*range(5), 72])
def test_sums_that_cancel_on_a_sample_are_no_difference(seed):
    # What is left of 1,024 products is their rounding, and a fold rounds them anew.
    original, row = cancelling(seed)
    folded = bnfold.fold(original, verify=None).model
    verdict = bnfold.verify(original, folded, inputs={"x": row})
    assert verdict.passed, verdict.problem

    def one_percent(weight):
        weight[:, 3] *= 1.01

    assert not bnfold.verify(original, spoiled(folded, of_shape([1024, 200]), one_percent)).passed


def weight_norm(precision, factor=1.0):
    """A Conv whose weight is a product of constants, computed in the type of the graph, and its BatchNorm."""
    net = Network(seed=6)
    net.constant("g", factor * net.random.uniform(0.5, 2, (8, 1, 1, 1)), precision)
    net.constant("v", net.random.normal(size=(8, 16, 3, 3)), precision)
    net.node("ReduceL2", ["v"], "length", axes=[1, 2, 3])
    net.node("Div", ["v", "length"], "direction")
    net.node("Mul", ["g", "direction"], "w")
    net.node("Conv", ["x", "w"], "c", kernel_shape=[3, 3])
    net.batch_norm("c", "n", 8, precision)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 16, 12, 12]}, ["y"], dtype=precision)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_constants_that_the_original_computes_may_be_rounded_as_a_runtime_rounds_them(precision):
    original = weight_norm(precision)
    result = bnfold.fold(original, verify=None)
    assert result.report.batch_norms.kept == 0
    verdict = bnfold.verify(original, result.model)
    assert verdict.passed, verdict.problem
    assert not np.isnan(verdict.tensors[0].excess)
    wrong = bnfold.fold(weight_norm(precision, 1.01), verify=None).model
    assert not bnfold.verify(original, wrong).passed


def folded_in_float32(slip=1.0):
    """A Conv and its BatchNorm, and what a tool makes of them that computes in float32."""
    net = Network(seed=9)
    net.node("Conv", ["x", net.weight("w", 16, 32, 3, 3)], "c")
    net.batch_norm("c", "y", 16)
    original = net.model({"x": [1, 32, 12, 12]}, ["y"])
    one = np.float32(1)
    stored = {name: np.asarray(values, np.float32) for name, values in net.initializers.items()}
    scale = stored["y.scale"] / np.sqrt(stored["y.var"] + np.float32(1e-5)) * (one * np.float32(slip))
    bias = stored["y.bias"] - stored["y.mean"] * scale
    nodes = [node("Conv", "x w b", "y")]
    weights = {"w": stored["w"] * scale.reshape(-1, 1, 1, 1), "b": bias}
    return original.SerializeToString(), model(nodes, {"x": (FLOAT, [1, 32, 12, 12])}, {"y": (FLOAT, None)}, weights)


def test_what_other_tools_fold_in_float32_is_equal():
    assert check(*folded_in_float32()).passed
    assert not check(*folded_in_float32(slip=1 + 2e-6)).passed


def quantized(factor, step=1.0):
    """A Conv in front of a quantizer, and of another one behind it without a name that both models have between."""
    net = Network(seed=4)
    net.constant("w", net.random.normal(size=(4, 3, 3, 3)) * factor)
    net.constant("s", 0.05 * step)
    net.initializers["z"] = np.asarray(0, np.int8)
    net.node("Conv", ["x", "w"], f"c{factor}")
    net.node("QuantizeLinear", [f"c{factor}", "s", "z"], f"q{factor}")
    net.node("DequantizeLinear", [f"q{factor}", "s", "z"], f"d{factor}")
    net.node("Mul", [f"d{factor}", net.constant("k", 1 / factor)], "m")
    net.node("Relu", ["m"], "y")
    return net.model({"x": [1, 3, 20, 20]}, ["y"])


def test_a_scale_that_moves_over_a_quantizer_is_another_function():
    # Half of what a quantizer rounds, and half of its step: the same steps are made.
    verdict = bnfold.verify(quantized(1.0), quantized(0.5, step=0.5))
    assert verdict.passed, verdict.problem
    assert not np.isnan(verdict.tensors[0].excess)
    # Half of what it rounds, and the same step: the steps are twice as large, and nothing else is wrong.
    assert not bnfold.verify(quantized(1.0), quantized(0.5)).passed


@pytest.mark.parametrize("place", [0, 13, 29, 41, 59])
def test_one_number_of_a_product_is_found_whatever_the_others_are_multiplied_with(place):
    net = Network(seed=3)
    net.node("Gemm", ["x", net.weight("w", 10, 6), net.weight("b", 10)], "g", transB=1)
    net.node("BatchNormalization", ["g", *(net.constant(name, np.full(10, 1.5)) for name in "sbmv")], "y")
    original = net.model({"x": [5, 6]}, ["y"])
    folded = bnfold.fold(original, verify=None).model

    def change(values):
        values.reshape(-1)[place] *= 1.0001

    assert bnfold.verify(original, folded).passed
    assert not bnfold.verify(original, spoiled(folded, of_shape([10, 6]), change)).passed


def test_where_outputs_differ_on_later_samples_alone_the_changed_tensor_is_named():
    """A bound that only large values reach, and none of the verifier's own choice does."""

    def network(bound):
        nodes = [node("Mul", "x k", "m"), node("Clip", f"m low {bound}", "c"), node("Neg", "c", "y")]
        weights = {"k": np.float32(1), "low": np.float32(-1e9), bound: np.float32(1e7 if bound == "a" else 2e7)}
        return model(nodes, {"x": (FLOAT, [1, 8])}, {"y": (FLOAT, [1, 8])}, weights)

    rows = np.float32([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 1.5e7]])
    verdict = check(network("a"), network("b"), VerifyOptions(inputs={"x": rows}))
    assert verdict.problem.startswith("tensor 'c': ")
    assert "sample 1" in verdict.problem


def test_a_bias_that_comes_out_as_the_batch_norms_own_was_rounded_all_the_same():
    net = Network(seed=4)
    net.node("Conv", ["x", net.weight("w", 4, 3, 1, 1)], "c")
    values = {"s": np.full(4, 1.25), "b": [1.0, -2.0, 3.0, 0.5], "m": [1e-9, -2e-9, 3e-9, 1e-10], "v": np.ones(4)}
    net.node("BatchNormalization", ["c", *(net.constant(name, array) for name, array in values.items())], "y")
    original = net.model({"x": [2, 3, 5, 5]}, ["y"])
    folded = bnfold.fold(original, verify=None).model
    (bias,) = (tensor for tensor in folded.graph.initializer if list(tensor.dims) == [4])
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(bias), np.float32(values["b"]))
    assert bnfold.verify(original, folded).passed
