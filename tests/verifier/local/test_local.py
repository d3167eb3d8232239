"""Parts cut out of their graphs: what no end-to-end comparison can see."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.local.laws import Seen
from bnfold.verifier.local.limits import Places, Slopes
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
    assert " times what it was" in verdict.problem


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


def test_the_laws_see_a_factor_below_the_largest_rounding_error():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 10_000)).astype(np.float32)
    noise = rng.standard_normal(a.shape).astype(np.float32) * np.float32(3e-7)
    u = float(np.finfo(np.float32).eps)
    equal, scaled = (Seen(a, (a * np.float32(factor) + noise), (a,), u) for factor in (1, 1 + 4e-6))
    assert np.all(Places().excess(equal) < 1)
    assert np.all(Places().excess(scaled) < 10)
    assert np.all(Slopes().excess(equal) < 1)
    assert np.all(Slopes().excess(scaled) > 3)


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
    def network(inner):
        nodes = [node("RandomNormalLike", "x", inner, scale=1e-30), node("Add", f"x {inner}", "y")]
        port = (FLOAT, [2, 3])
        return model(nodes, {"x": port}, {"y": port})

    verdict = check(network("a"), network("b"), VerifyOptions(samples=3))
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
