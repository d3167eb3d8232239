"""Models that quantize: a step of their own quantizers is rounding, and what is wrong in front of them is not."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.compare.quantizers import moved_by_a_step
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import FLOAT, UINT8, model_proto, node

STEP = np.float32(0.05)


def quantized(seed, op_type="Conv", *, relu=True, behind=False, side=16, output="y"):
    """x -> Q -> DQ -> Conv with int8 weights -> BatchNorm -> Relu -> Q -> DQ, and perhaps another Conv behind it."""
    random = np.random.default_rng(seed)
    shape, axis = ((8, 3, 3, 3), 0) if op_type == "Conv" else ((3, 8, 3, 3), 1)
    parameters = {
        "q": random.integers(-127, 128, shape).astype(np.int8),
        "ws": random.uniform(0.005, 0.02, 8).astype(np.float32),
        "wz": np.zeros(8, np.int8),
        "xs": np.float32(0.02),
        "xz": np.uint8(128),
        "ys": STEP,
        "yz": np.uint8(0 if relu else 128),
        "gamma": random.uniform(0.3, 2, 8).astype(np.float32),
        "beta": random.normal(size=8).astype(np.float32),
        "mean": random.normal(size=8).astype(np.float32),
        "var": random.uniform(0.3, 2, 8).astype(np.float32),
        "w2": random.normal(size=(4, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "q ws wz", "w", axis=axis),
        node(op_type, "xd w", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c gamma beta mean var", "n"),
        *([node("Relu", "n", "r")] if relu else []),
        node("QuantizeLinear", "r ys yz" if relu else "n ys yz", "yq"),
        node("DequantizeLinear", "yq ys yz", "yd" if behind else "y"),
        *([node("Conv", "yd w2", "y")] if behind else []),
    ]
    if not behind:
        del parameters["w2"]
    element = UINT8 if output == "yq" else FLOAT
    return model_proto(nodes, {"x": (FLOAT, [1, 3, side, side])}, {output: (element, None)}, parameters)


def folded(original):
    return bnfold.fold(original, verify=None).model


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("behind", [True, False])
def test_exact_folds_pass_whatever_onnxruntime_does_to_the_new_bias(op_type, relu, behind):
    for seed in range(12):
        result = bnfold.fold(quantized(seed, op_type, relu=relu, behind=behind))
        assert result.report.batch_norms.folded == 1


def test_the_optimiser_is_named():
    deployment = bnfold.fold(quantized(0)).report.verification.deployment
    assert deployment.passed
    assert "optimiser WeightBiasQuantization" in deployment.note


def test_values_at_the_border_between_two_steps_may_fall_on_either_side():
    """An image has enough values that some lie there."""
    for behind in (True, False):
        verification = bnfold.fold(quantized(0, side=160, behind=behind)).report.verification
        assert verification.passed
        assert any("step of the model's own quantizers" in warning for warning in verification.warnings)


def test_a_quantized_output_may_be_a_step_away():
    assert bnfold.fold(quantized(0, side=160, output="yq")).report.verification.passed


def spoil(proto, name, change):
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
            return
    raise AssertionError(f"no {name}")


def bias_of(proto):
    return next(entry.input[2] for entry in proto.graph.node if entry.output[0] == "n")


def scale_of(proto):
    weight = next(entry.input[1] for entry in proto.graph.node if entry.output[0] == "n")
    return next(entry.input[1] for entry in proto.graph.node if entry.output[0] == weight)


WHICH = (bias_of, scale_of)


@pytest.mark.parametrize(
    ("which", "factor"), [(bias_of, 1.001), (scale_of, 1 + 1e-5), *((which, n) for n in (-1, 0) for which in WHICH)]
)
@pytest.mark.parametrize("behind", [True, False])
def test_what_is_wrong_in_front_of_a_quantizer_is_seen(which, behind, factor):
    original = quantized(1, behind=behind)
    new = folded(original)

    def change(values):
        values[5] *= np.float32(factor)

    spoil(new, which(new), change)
    verdict = check(original.SerializeToString(), new.SerializeToString(), VerifyOptions())
    assert verdict.status == "failed"
    assert verdict.problem.startswith("tensor 'n': channel 5 ")


def scaled_behind(factor, steps=0):
    """A quantizer that is the same in both models, and an output that is not what its steps explain."""
    nodes = [
        node("Mul", "x k", "h"),
        node("QuantizeLinear", "h ys yz", "q"),
        node("DequantizeLinear", "q ys yz", "d"),
        node("Mul", "d m", "e"),
        node("Add", "e s", "y"),
    ]
    parameters = {"k": np.float32(1), "ys": STEP, "yz": np.uint8(128), "m": np.float32(factor), "s": steps * STEP}
    return model_proto(nodes, {"x": (FLOAT, [1, 64])}, {"y": (FLOAT, [1, 64])}, parameters).SerializeToString()


def test_two_steps_are_more_than_one():
    options = VerifyOptions(probe=False)
    assert not check(scaled_behind(1), scaled_behind(1, steps=2), options).passed


def test_moves_are_of_one_step_at_most_and_reach_it():
    source = Model.read("the original", quantized(0).SerializeToString())
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}
    (plain,) = Session(source).run(x)
    first, second = (Session(moved_by_a_step(source, seed)).run(x)[0] for seed in (0, 1))
    assert np.abs(first - plain).max() >= 1.99 * STEP, "the input is quantized as well"
    assert not np.array_equal(first, second)


def test_a_model_that_quantizes_nothing_but_weights_has_no_steps():
    weights = {"w": np.float32([[1, 2]]), "s": np.float32(0.1), "z": np.uint8(0)}
    nodes = [node("QuantizeLinear", "w s z", "q"), node("DequantizeLinear", "q s z", "d"), node("Add", "x d", "y")]
    proto = model_proto(nodes, {"x": (FLOAT, [1, 2])}, {"y": (FLOAT, [1, 2])}, weights)
    assert moved_by_a_step(Model("the original", proto), 0) is None


def dynamic(seed):
    """A BatchNorm folds into the Conv in front of a quantizer that takes its scale from what it quantizes."""
    random = np.random.default_rng(seed)
    parameters = {
        "w": random.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "q": random.integers(-127, 128, (4, 8, 1, 1)).astype(np.int8),
        "ws": np.float32(0.01),
        **{name: random.normal(size=8).astype(np.float32) for name in ("gamma", "beta", "mean")},
        "var": random.uniform(0.3, 2, 8).astype(np.float32),
    }
    nodes = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c gamma beta mean var", "n"),
        node("DynamicQuantizeLinear", "n", "nq ns nz"),
        node("ConvInteger", "nq q nz", "i"),
        node("Cast", "i", "f", to=FLOAT),
        node("Mul", "ns ws", "s"),
        node("Mul", "f s", "y"),
    ]
    return model_proto(nodes, {"x": (FLOAT, [1, 3, 64, 64])}, {"y": (FLOAT, None)}, parameters)


def test_dynamic_quantizers_have_steps_too():
    for seed in range(4):
        original = dynamic(seed)
        new = folded(original)
        assert check(original.SerializeToString(), new.SerializeToString(), VerifyOptions()).passed
        spoil(new, bias_of(new), lambda values: values.__imul__(np.float32(1.001)))
        assert not check(original.SerializeToString(), new.SerializeToString(), VerifyOptions()).passed
