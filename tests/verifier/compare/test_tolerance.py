"""How much may differ: floors, the caller's own tolerances, noise, and samples that say nothing."""

import math

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from bnfold.verifier import VerifyOptions, check, pipeline
from bnfold.verifier.compare.noise import NoiseLevel, of_one_unit
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.precision import coarsest_float
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run import runner
from bnfold.verifier.run.comparison_run import ComparisonRun
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.runner import OnnxRunner, as_perturbed, measure, observe_moved
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import BFLOAT16, BOOL, DOUBLE, FLOAT, HALF, INT64, UINT8, ConvBatchNorm, model, node

ELEMENTS = {FLOAT: np.float32, DOUBLE: np.float64, HALF: np.float16}


def scaled(factor: float, element: int = FLOAT) -> bytes:
    """y = factor * x."""
    port = (element, [8, 8])
    return model([node("Mul", "x c", "y")], {"x": port}, {"y": port}, {"c": np.asarray(factor, ELEMENTS[element])})


@pytest.mark.parametrize(
    ("element", "passes", "fails"),
    [(FLOAT, 5e-6, 1e-4), (DOUBLE, 5e-13, 1e-10), (HALF, 2e-3, 3e-2)],
    ids=["float32", "float64", "float16"],
)
def test_each_dtype_has_its_own_floor(element, passes, fails):
    assert check(scaled(1, element), scaled(1 + passes, element), VerifyOptions(probe=False)).passed
    assert not check(scaled(1, element), scaled(1 + fails, element), VerifyOptions(probe=False)).passed


def test_the_callers_tolerance_takes_the_place_of_the_floor():
    def passed(error, **options):
        return check(scaled(1), scaled(1 + error), VerifyOptions(samples=1, **options)).passed

    assert passed(1e-3, rtol=2e-3)
    assert not passed(1e-3, rtol=5e-4)
    assert not passed(5e-6, rtol=1e-6)
    assert passed(0.0, rtol=0.0, atol=0.0)
    assert not passed(5e-6, rtol=0.0)
    # The largest of the 64 normal values lies between 2 and 5.
    assert passed(1e-3, atol=6e-3)
    assert not passed(1e-3, atol=1e-3)
    assert passed(1e-3, atol=1e-3, rtol=9e-4)


def test_an_absolute_tolerance_holds_where_the_original_is_zero():
    def shifted(shift):
        nodes = [node("Mul", "x zero", "z"), node("Add", "z t", "y")]
        weights = {"zero": np.float32(0), "t": np.float32(shift)}
        return model(nodes, {"x": (FLOAT, [8])}, {"y": (FLOAT, [8])}, weights)

    assert check(shifted(0), shifted(1e-4), VerifyOptions(atol=2e-4)).passed
    assert not check(shifted(0), shifted(1e-4), VerifyOptions(atol=5e-5)).passed
    assert not check(shifted(0), shifted(1e-4), VerifyOptions()).passed


def sine(gain: float, *, detour: bool = False, change: float = 0.0) -> bytes:
    """y = sin(gain * x) + change: an error of one rounding in x is gain times as large in y.

    The detour is a factor that differs from 1 by one rounding.
    """
    nodes = [node("Mul", "x one", "o")] if detour else [node("Identity", "x", "o")]
    nodes += [node("Mul", "o gain", "g"), node("Sin", "g", "s"), node("Add", "s change", "y")]
    weights = {"one": np.float32(1 + 2**-23), "gain": np.float32(gain), "change": np.float32(change)}
    return model(nodes, {"x": (FLOAT, [1, 64])}, {"y": (FLOAT, [1, 64])}, weights)


def test_a_difference_within_the_originals_own_noise_passes():
    verdict = check(sine(300), sine(300, detour=True), VerifyOptions(samples=1))
    (output,) = verdict.outputs
    assert verdict.passed, verdict
    assert output.max_rel > 1e-5
    assert output.max_rel <= 8 * output.noise_floor
    assert not verdict.warnings


@pytest.mark.parametrize("change", [0.0, 0.01])
def test_noise_excuses_a_tensor_that_nothing_but_onnxruntime_computes(change):
    """One rounding in front of a sine of large numbers, and behind it an operator that float64 does not have."""

    def network(factor, change, name):
        nodes = [node("Mul", "x one", f"{name}o"), node("Mul", f"{name}o gain", f"{name}g"),
                 node("Sin", f"{name}g", f"{name}s"),
                 node("Trilu", f"{name}s", f"{name}h", domain="com.microsoft"), node("Add", f"{name}h change", "z"),
                 node("Relu", "z", "y")]  # fmt: skip
        weights = {"one": np.float32(factor), "gain": np.float32(3000), "change": np.float32(change)}
        return model(nodes, {"x": (FLOAT, [1, 64])}, {"y": (FLOAT, [1, 64])}, weights, domains={"com.microsoft": 1})

    verdict = check(network(1, 0, "a"), network(1 + 2**-23, change, "b"), VerifyOptions(samples=1))
    (tensor,) = (tensor for tensor in verdict.tensors if tensor.name == "z")
    assert math.isnan(tensor.excess), "it was not compared alone"
    assert tensor.max_rel > 1e-4
    assert verdict.passed == (change == 0), verdict


def test_a_difference_beyond_the_originals_own_noise_fails():
    verdict = check(sine(300), sine(300, detour=True, change=0.01), VerifyOptions(samples=1))
    assert not verdict.passed
    assert "the original's own noise is " in verdict.outputs[0].problem


def test_noise_excuses_nothing_where_the_caller_has_set_a_tolerance():
    assert not check(sine(300), sine(300, detour=True), VerifyOptions(samples=1, rtol=1e-5)).passed


CHAOS = 3e7  # the last bit of a value around 1 is several radians


def test_a_sample_in_which_the_original_is_chaotic_is_left_out():
    options = VerifyOptions(inputs={"x": np.stack([np.linspace(1, 2, 64), np.linspace(-1, 1, 64) * 1e-9])})
    verdict = check(sine(CHAOS), sine(CHAOS, detour=True), options)
    assert verdict.passed, verdict
    assert verdict.samples == 2
    (warning,) = verdict.warnings
    assert warning.startswith("output 'y': 1 of 2 samples left out, where the original itself moves by ")
    assert verdict.outputs[0].max_rel < 1e-5, "the sample that is left out does not count"


def test_a_chaotic_sample_does_not_excuse_the_others():
    options = VerifyOptions(inputs={"x": np.stack([np.linspace(1, 2, 64), np.linspace(-1, 1, 64) * 1e-9])})
    verdict = check(sine(CHAOS), sine(CHAOS, detour=True, change=1e-3), options)
    assert not verdict.passed
    assert "in sample 1" in verdict.outputs[0].problem


def test_an_original_that_is_chaotic_in_every_sample_cannot_be_shown_equal():
    options = VerifyOptions(inputs={"x": np.linspace(1, 2, 64)[None]})
    assert check(sine(CHAOS), sine(CHAOS), options).passed
    verdict = check(sine(CHAOS), sine(CHAOS, detour=True), options)
    assert verdict.status == "unchecked"
    assert verdict.problem.startswith("output 'y': equality cannot be shown, where the original itself moves by ")
    assert math.isnan(verdict.outputs[0].max_rel)


def best_of(values) -> bytes:
    """The index of the larger of x + values[0] and x + values[1], per row; of equals, the first."""
    nodes = [node("Add", f"x v{i}", f"s{i}") for i in (0, 1)] + [node("Concat", "s0 s1", "s", axis=1)]
    nodes += [node("ArgMax", "s", "y", axis=1)]
    weights = {f"v{i}": np.float32(values[i]) for i in (0, 1)}
    return model(nodes, {"x": (FLOAT, [4, 1])}, {"y": (INT64, [4, 1])}, weights)


def test_an_argmax_that_flips_fails_where_the_original_is_sure():
    verdict = check(best_of([1, 0]), best_of([0, 1]), VerifyOptions(samples=1))
    assert "4 of 4 values differ" in verdict.outputs[0].problem


def tie(change: float) -> bytes:
    """Whether x - 1 > change, a comparison that one rounding of x = 1 decides."""
    nodes = [node("Sub", "x one", "d"), node("Greater", "d t", "y")]
    weights = {"one": np.float32(1), "t": np.float32(change)}
    return model(nodes, {"x": (FLOAT, [1, 4])}, {"y": (BOOL, [1, 4])}, weights)


def test_a_comparison_that_the_original_itself_decides_by_rounding_is_left_out():
    options = VerifyOptions(inputs={"x": np.float32([[1, 1, 1, 1], [0, 2, 0, 3]])})
    verdict = check(tie(0), tie(-1e-7), options)
    assert verdict.passed, verdict
    assert "1 of 2 samples left out" in verdict.warnings[0]
    assert not check(tie(0), tie(2.5), options).passed


@pytest.mark.parametrize("op_type", ["Greater", "Less"])
def test_inputs_move_both_ways_before_anything_is_called_wrong(op_type):
    """A single number crosses a border in one of them alone."""

    def compared(border):
        nodes = [node("Sub", "x one", "d"), node(op_type, "d t", "y")]
        weights = {"one": np.float32(1), "t": np.float32(border)}
        return model(nodes, {"x": (FLOAT, [1, 1])}, {"y": (BOOL, [1, 1])}, weights)

    options = VerifyOptions(inputs={"x": np.float32([[1], [3]])})
    verdict = check(compared(0), compared(-1e-8 if op_type == "Greater" else 1e-8), options)
    assert verdict.passed, verdict
    assert "1 of 2 samples left out" in verdict.warnings[0]


def test_a_nan_that_comes_and_goes_with_the_last_bit_says_nothing():
    def root(factor):
        nodes = [node("Mul", "x k", "h"), node("Sub", "h one", "d"), node("Sqrt", "d", "y")]
        weights = {"k": np.float32(factor), "one": np.float32(1)}
        return model(nodes, {"x": (FLOAT, [1, 8])}, {"y": (FLOAT, [1, 8])}, weights)

    at_the_border, beside = np.ones((1, 8), np.float32), np.full((1, 8), 5, np.float32)
    options = VerifyOptions(inputs={"x": np.concatenate([at_the_border, beside])})
    verdict = check(root(1), root(1 - 2**-24), options)
    assert verdict.passed, verdict
    assert "where another rounding of the original gives another shape, NaN or infinity" in verdict.warnings[0]


def test_outputs_that_never_vary_are_weak_evidence():
    def constant(value):
        nodes = [node("Mul", "x zero", "z"), node("Add", "z v", "y")]
        return model(nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, {"zero": np.float32(0), "v": np.float32(value)})

    verdict = check(constant(3), constant(3), VerifyOptions())
    assert verdict.passed
    (warning,) = verdict.warnings
    assert warning == (
        "weak evidence: no output of the original ever varied: give real samples with VerifyOptions.inputs"
    )
    assert not check(constant(3), constant(3.1), VerifyOptions()).passed


def test_outputs_that_are_nan_everywhere_are_weak_evidence():
    nodes = [node("Mul", "x zero", "z"), node("Div", "z z", "y")]
    nan = model(nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, {"zero": np.float32(0)})
    verdict = check(nan, nan, VerifyOptions())
    assert verdict.passed
    (warning,) = verdict.warnings
    assert warning == (
        "weak evidence: no output of the original ever varied: give real samples with VerifyOptions.inputs"
    )


def half_inside(build) -> bytes:
    """A float16 network between float32 ends."""
    proto = onnx.load_model_from_string(build(np.float16))
    for old, new in (("x", "x16"), ("y", "y16")):
        for entry in proto.graph.node:
            for names in (entry.input, entry.output):
                names[:] = [new if name == old else name for name in names]
    proto.graph.node.insert(0, node("Cast", "x", "x16", to=HALF))
    proto.graph.node.append(node("Cast", "y16", "y", to=FLOAT))
    for port in (*proto.graph.input, *proto.graph.output):
        port.type.tensor_type.elem_type = FLOAT
    return proto.SerializeToString()


@pytest.mark.parametrize("seed", range(10))
def test_a_float16_network_with_float32_ends_is_judged_as_float16(seed):
    network = ConvBatchNorm(seed)
    original = half_inside(network.original)
    assert coarsest_float(Model.read("a model", original)) == np.float16
    verdict = check(original, half_inside(network.folded), VerifyOptions(seed=seed))
    assert verdict.passed, verdict
    assert verdict.outputs[0].max_rel > 1e-5

    def spoil(bias):
        bias[1] += 0.25 * np.abs(bias).max()

    wrong = half_inside(lambda dtype: network.folded(dtype, spoil_bias=spoil))
    assert not check(original, wrong, VerifyOptions(seed=seed)).passed


def test_the_coarsest_float_is_found_in_weights_constants_casts_bodies_and_functions():
    bf16 = np.dtype(ml_dtypes.bfloat16)
    branch = helper.make_graph([node("Cast", "x", "b", to=HALF), node("Cast", "b", "o", to=FLOAT)], "branch", [],
                               [helper.make_tensor_value_info("o", FLOAT, None)])  # fmt: skip
    in_body = model([node("If", "c", "y", then_branch=branch, else_branch=branch)],
                    {"x": (FLOAT, [2]), "c": (BOOL, [])}, {"y": (FLOAT, None)})  # fmt: skip
    in_constant = model([node("Constant", "", "k", value=helper.make_tensor("k", BFLOAT16, [1], [1.0])),
                         node("Identity", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})  # fmt: skip
    function = helper.make_function("own", "F", ["a"], ["b"], [node("Cast", "a", "b", to=BFLOAT16)],
                                    [helper.make_opsetid("", 17)])  # fmt: skip
    in_function = onnx.load_model_from_string(scaled(1))
    in_function.functions.append(function)
    assert coarsest_float(Model.read("a model", scaled(1))) == np.float32
    assert coarsest_float(Model.read("a model", scaled(1, DOUBLE))) == np.float64
    assert coarsest_float(Model.read("a model", scaled(1, HALF))) == np.float16
    assert coarsest_float(Model.read("a model", in_body)) == np.float16
    assert coarsest_float(Model.read("a model", in_constant)) == bf16
    assert coarsest_float(Model.read("a model", in_function.SerializeToString())) == bf16
    assert (
        coarsest_float(Model.read("a model", model([node("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})))
        == np.float32
    )


def noise_on(source: bytes, feeds, in_doubt=lambda _: False) -> NoiseLevel:
    runner = OnnxRunner(Model.read("the original", source))
    moved = [seen for way in (1, -1) for seen in observe_moved(runner, feeds, (), way)]
    (level,) = measure(runner, feeds, runner.run(feeds), as_perturbed(moved), (), in_doubt)
    return level


def noise(source: bytes, x) -> NoiseLevel:
    return noise_on(source, {"x": x})


def test_noise_is_the_movement_under_one_rounding():
    level = noise(scaled(2), np.ones((8, 8), np.float32))
    assert level.grain == np.float32
    assert level.error == 2**-23


def test_in_doubt_the_weights_move_as_well():
    # Indices cannot move, and the optimised kernels do the same: without moved weights there is no noise at all.
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    source = model([node("Gather", "w x", "y")], {"x": (INT64, [2])}, {"y": (FLOAT, [2, 3])}, {"w": rows})
    seen = []

    def in_doubt(levels):
        seen.append(levels[0].error)
        return levels[0].error == 0

    level = noise_on(source, {"x": np.asarray([0, 3])}, in_doubt)
    assert seen == [0, level.error]
    assert 2**-25 < level.error <= 2**-23


def test_weights_are_not_moved_where_copies_of_them_take_too_much(monkeypatch):
    weight = {"w": np.ones((256, 256), np.float32)}
    source = model([node("MatMul", "x w", "y")], {"x": (FLOAT, [1, 256])}, {"y": (FLOAT, [1, 256])}, weight)
    feeds = {"x": np.ones((1, 256), np.float32)}
    original = OnnxRunner(Model.read("the original", source))
    assert len(list(original.perturbed_further(feeds))) == 12
    assert original.model.bytes_outside == 2**18
    monkeypatch.setattr(runner, "_MOST_MOVED", 2**10)
    assert list(original.perturbed_further(feeds)) == []


def test_growth_is_divided_by_the_step_and_a_jump_is_not():
    assert of_one_unit(8e-7, step=4, noise=2e-7) == 2e-7
    assert of_one_unit(0.5, step=4, noise=2e-7) == 0.5


def test_noise_of_zeros_is_that_of_ones():
    assert noise(sine(1, change=1), np.zeros((1, 64), np.float32)).error == pytest.approx(2**-23)


def test_noise_moves_both_ways():
    for op_type in ("Greater", "Less"):
        nodes = [node(op_type, "x one", "y")]
        source = model(nodes, {"x": (FLOAT, [1])}, {"y": (BOOL, [1])}, {"one": np.float32(1)})
        assert noise(source, np.float32([1])).error == 1


def test_noise_moves_by_the_coarsest_type_inside():
    nodes = [node("Cast", "x", "h", to=HALF), node("Cast", "h", "y", to=FLOAT)]
    source = model(nodes, {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    assert noise(source, np.float32([1])).error == 2**-10


def test_noise_of_a_network_without_float_inputs_is_that_of_the_optimised_kernels():
    network = ConvBatchNorm()
    proto = onnx.load_model_from_string(network.original())
    for entry in proto.graph.node:
        entry.input[:] = ["f" if name == "x" else name for name in entry.input]
    proto.graph.node.insert(0, node("Cast", "x", "f", to=FLOAT))
    proto.graph.input[0].type.tensor_type.elem_type = UINT8
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 6, 6), np.uint8)
    assert 0 < noise(proto.SerializeToString(), pixels).error < 1e-5


def test_noise_of_integers_is_the_share_that_changes():
    assert noise(tie(0), np.float32([[1, 2, 0, 0.5]])).error == 0.25


def test_a_check_without_a_single_sample_says_nothing(monkeypatch):
    def refuse(*_):
        raise RefusedError("no")

    chosen = choose_feeding(Session(Model.read("the original", scaled(1))), VerifyOptions())
    monkeypatch.setattr(pipeline, "choose_feeding", lambda *_: chosen)
    monkeypatch.setattr(ComparisonRun, "_take_first_observation", lambda _: None)
    monkeypatch.setattr(Session, "observe", refuse)
    verdict = check(scaled(1), scaled(1), VerifyOptions())
    assert verdict.status == "unchecked"
    assert (verdict.samples, verdict.problem) == (0, "the original refused every sample")
