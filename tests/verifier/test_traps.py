"""Everything that has fooled other checkers, through the public entry."""

import numpy as np
import pytest
from onnx import helper

from bnfold.verifier import VerifyOptions, check
from tests.verifier.small_models import BOOL, FLOAT, HALF, INT64, STRING, ConvBatchNorm, model, node, unary

X = {"x": (FLOAT, [2, 3])}


def test_a_correct_fold_passes():
    network = ConvBatchNorm()
    verdict = check(network.original(), network.folded(), VerifyOptions())
    assert verdict.passed
    assert (verdict.samples, verdict.problem, verdict.warnings) == (6, "", ())
    (output,) = verdict.outputs
    assert output.name == "y"
    assert output.max_abs > 0
    assert 0 < output.max_rel < 1e-5


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_correct_fold_passes_with_every_seed(seed, dtype):
    network = ConvBatchNorm(seed)
    verdict = check(network.original(dtype), network.folded(dtype), VerifyOptions(seed=seed))
    assert verdict.passed, verdict


def one_percent_more(array):
    array[1] *= 1.01


def drop(array):
    array[:] = 0


def swap_channels(array):
    array[[1, 2]] = array[[2, 1]]


def flip_sign(array):
    array[3] *= -1


@pytest.mark.parametrize(
    "spoil",
    [
        {"spoil_weight": one_percent_more},
        {"spoil_bias": one_percent_more},
        {"spoil_bias": drop},
        {"spoil_weight": swap_channels},
        {"spoil_bias": swap_channels},
        {"spoil_weight": flip_sign},
    ],
    ids=lambda spoil: "-".join((*spoil, *(function.__name__ for function in spoil.values()))),
)
@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_channel_fails(spoil, seed):
    network = ConvBatchNorm(seed)
    verdict = check(network.original(), network.folded(**spoil), VerifyOptions(seed=seed))
    assert verdict.status == "failed"
    assert not verdict.passed
    assert verdict.problem.startswith("tensor 'y': channel ")
    assert " in the original" in verdict.problem
    assert not verdict.outputs[0].passed
    assert verdict.outputs[0].max_rel > 1e-5
    assert 0 <= verdict.outputs[0].noise_floor < 1e-5


def test_a_wrong_epsilon_fails():
    network = ConvBatchNorm()
    original = network.original()
    network.epsilon = 0.0
    assert not check(original, network.folded(), VerifyOptions()).passed


def test_a_changed_shape_that_broadcasts_fails():
    # (3, 3) against (1, 3): three copies of the same row, which numpy's broadcasting finds equal.
    free = {"x": (FLOAT, ["n", "m"])}
    original = model([node("Identity", "x", "y")], free, {"y": (FLOAT, None)})
    copied = model([node("Expand", "x size", "y")], free, {"y": (FLOAT, None)}, {"size": np.array([3, 3])})
    verdict = check(original, copied, VerifyOptions(shapes={"x": (1, 3)}))
    assert not verdict.passed
    assert verdict.outputs[0].problem == "shape (3, 3) against (1, 3) in sample 0 (normal)"
    assert np.isnan(verdict.outputs[0].max_abs)


def test_a_new_nan_fails():
    # sqrt(x * x) is |x|; sqrt(x) is NaN for negative x only.
    original = model([node("Mul", "x x", "s"), node("Sqrt", "s", "y")], X, {"y": (FLOAT, [2, 3])})
    verdict = check(original, unary("Sqrt"), VerifyOptions())
    assert not verdict.passed
    assert "where the original has none in sample 0 (normal" in verdict.outputs[0].problem


def test_a_nan_that_is_gone_fails():
    original = model([node("Mul", "x x", "s"), node("Sqrt", "s", "y")], X, {"y": (FLOAT, [2, 3])})
    verdict = check(unary("Sqrt"), original, VerifyOptions())
    assert not verdict.passed
    assert "no NaN in " in verdict.problem


def test_a_new_infinity_fails():
    def scaled(factor):
        return model([node("Mul", "x c", "y")], X, {"y": (FLOAT, [2, 3])}, {"c": np.float32(factor)})

    with np.errstate(over="ignore"):
        verdict = check(scaled(3e38), scaled(1e39), VerifyOptions())
    assert not verdict.passed
    assert "infinity in " in verdict.problem


def test_an_infinity_of_the_other_sign_fails():
    def divided(numerator):
        return model([node("Mul", "x zero", "z"), node("Abs", "z", "p"), node("Div", "n p", "y")], X,
                     {"y": (FLOAT, [2, 3])}, {"zero": np.float32(0), "n": np.float32(numerator)})  # fmt: skip

    assert check(divided(1), divided(2), VerifyOptions(probe=False)).passed
    assert "infinity in 6 places" in check(divided(1), divided(-1), VerifyOptions()).outputs[0].problem


def test_nan_and_infinities_that_agree_pass():
    assert check(unary("Sqrt"), unary("Sqrt"), VerifyOptions()).passed
    assert check(unary("Reciprocal"), unary("Reciprocal"), VerifyOptions()).passed


def test_a_difference_at_negative_inputs_only_fails():
    # The trap of inputs drawn from [0, 1): there, Relu, Abs and Identity are one function.
    for wrong in ("Abs", "Identity"):
        assert not check(unary("Relu"), unary(wrong), VerifyOptions(samples=1)).passed


def test_a_difference_at_large_inputs_only_fails():
    clipped = model([node("Clip", "x low high", "y")], {"x": (FLOAT, [20, 20])}, {"y": (FLOAT, [20, 20])},
                    {"low": np.float32(-6), "high": np.float32(6)})  # fmt: skip
    verdict = check(unary("Identity", shape=[20, 20]), clipped, VerifyOptions())
    assert not verdict.passed
    assert "in sample 1 (ten times normal)" in verdict.outputs[0].problem


def test_a_shift_that_shows_without_signal_only_fails():
    def network(shift):
        weights = {"c": np.float32(100), "t": np.float32(shift)}
        return model([node("Mul", "x c", "s"), node("Add", "s t", "y")], X, {"y": (FLOAT, [2, 3])}, weights)

    verdict = check(network(1), network(1.0005), VerifyOptions(probe=False))
    assert not verdict.passed
    assert "in sample 3 (all zero)" in verdict.outputs[0].problem


def test_the_reference_is_not_folded_by_onnxruntime():
    # In float16 with a tiny eps and a channel without variance, onnxruntime's own fold overflows, and so would a
    # candidate's. The graph as written gives finite values.
    def network(nodes, weights):
        half = {name: np.asarray(values).astype(np.float16) for name, values in weights.items()}
        return model(nodes, {"x": (HALF, [1, 2, 4, 4])}, {"y": (HALF, [1, 2, 4, 4])}, half)

    weight = np.full((2, 2, 1, 1), 1e-3)
    statistics = {"gamma": [60000, 1], "beta": [1, 1], "mean": [0, 0], "var": [1e-4, 1]}
    original = network(
        [node("Conv", "x w", "c"), node("BatchNormalization", "c gamma beta mean var", "y", epsilon=1e-8)],
        {"w": weight, **statistics},
    )
    weight[0] = np.inf
    overflown = network([node("Conv", "x w b", "y")], {"w": weight, "b": [1, 1]})
    tiny = {"x": np.full((1, 2, 4, 4), 1e-3, np.float16)}
    verdict = check(original, overflown, VerifyOptions(inputs=tiny))
    assert not verdict.passed
    assert "infinity in 16 places" in verdict.problem


def test_a_candidate_that_does_not_load_fails():
    verdict = check(unary("Relu"), unary("Nonsense"), VerifyOptions())
    assert verdict.status == "failed"
    assert verdict.problem.startswith("onnxruntime cannot load the new model: ")
    assert "\n" not in verdict.problem


def test_a_candidate_that_does_not_run_fails():
    original = model([node("Relu", "x", "y")], {"x": (FLOAT, ["n", "m"])}, {"y": (FLOAT, None)})
    square = model([node("MatMul", "x x", "y")], {"x": (FLOAT, ["n", "m"])}, {"y": (FLOAT, None)})
    verdict = check(original, square, VerifyOptions(shapes={"x": (2, 3)}))
    assert verdict.status == "failed"
    assert verdict.problem.startswith("onnxruntime cannot run the new model: ")
    assert verdict.problem.endswith("(in sample 0 (normal))")


@pytest.mark.parametrize(
    ("element", "right", "wrong"),
    [(INT64, "Identity", "Neg"), (BOOL, "Identity", "Not"), (STRING, "Identity", None)],
    ids=["int64", "bool", "string"],
)
def test_other_elements_compare_exactly(element, right, wrong):
    shape = [50]
    assert check(unary(right, element, shape), unary(right, element, shape), VerifyOptions()).passed
    if wrong:
        other = unary(wrong, element, shape)
    else:
        constant = helper.make_tensor("c", STRING, [50], [b"7"] * 50)
        other = model([node("Constant", "", "c", value=constant), node("Identity", "c", "y")],
                      {"x": (element, shape)}, {"y": (element, shape)})  # fmt: skip
    verdict = check(unary(right, element, shape), other, VerifyOptions(rtol=1.0, atol=10.0))
    assert not verdict.passed
    assert " of 50 values differ in sample 0" in verdict.problem


def test_one_wrong_integer_among_many_fails():
    def added(last):
        offset = np.zeros(5000, np.int64)
        offset[-1] = last
        return model([node("Add", "x o", "y")], {"x": (INT64, [5000])}, {"y": (INT64, [5000])}, {"o": offset})

    verdict = check(added(0), added(1), VerifyOptions())
    assert "1 of 5000 values differ" in verdict.problem
    assert verdict.outputs[0].max_abs == 1


def test_sequences_are_compared_tensor_by_tensor():
    def sequence(*parts):
        output = helper.make_tensor_sequence_value_info("y", FLOAT, None)
        graph = helper.make_graph(
            [node("Relu", "x", "a"), node("Neg", "x", "b"), helper.make_node("SequenceConstruct", list(parts), ["y"])],
            "graph", [helper.make_tensor_value_info("x", FLOAT, [2, 3])], [output],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

    assert check(sequence("a", "b"), sequence("a", "b"), VerifyOptions()).passed
    assert not check(sequence("a", "b"), sequence("b", "a"), VerifyOptions()).passed
    assert "a sequence of 1 against 2" in check(sequence("a", "b"), sequence("a"), VerifyOptions()).problem


def test_maps_are_compared_value_by_value():
    def classifier(factor, labels=("cat", "dog", "cow")):
        kind = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
        graph = helper.make_graph(
            [
                node("Mul", "x factor", "s"),
                node("ZipMap", "s", "y", domain="ai.onnx.ml", classlabels_strings=list(labels)),
            ],
            "graph", [helper.make_tensor_value_info("x", FLOAT, [2, 3])],
            [helper.make_value_info("y", helper.make_sequence_type_proto(kind))],
            [helper.make_tensor("factor", FLOAT, [], [factor])],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

    assert check(classifier(1.0), classifier(1.000001), VerifyOptions()).passed
    assert not check(classifier(1.0), classifier(1.01), VerifyOptions()).passed
    assert "a map with other keys" in check(classifier(1.0), classifier(1.0, ("a", "b", "c")), VerifyOptions()).problem
