"""Correct folds that the limits once called wrong, and the faults next to them that they still have to see."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bnfold
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.compare.channels import smallest
from bnfold.verifier.compare.perturbed import moved_weights
from bnfold.verifier.models.load import Model
from tests.verifier.small_models import FLOAT, ConvBatchNorm, model_proto, node


def conv_batch_norm(weight, **changed):
    """A Conv, a BatchNorm without shifts, and a Relu."""
    random = np.random.default_rng(0)
    channels = len(weight)
    parameters = {
        "w": weight,
        "gamma": random.uniform(0.5, 2, channels).astype(np.float32),
        "beta": np.zeros(channels, np.float32),
        "mean": np.zeros(channels, np.float32),
        "var": random.uniform(0.5, 2, channels).astype(np.float32),
        **changed,
    }
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c gamma beta mean var", "n"), node("Relu", "n", "y")]
    return model_proto(nodes, {"x": (FLOAT, [1, weight.shape[1], 8, 8])}, {"y": (FLOAT, None)}, parameters)


def weights(seed=1):
    return np.random.default_rng(seed).normal(size=(4, 3, 3, 3))


@pytest.mark.parametrize("exponent", [-36, -37, -38, -39, -40, -41, -43])
def test_what_is_below_the_smallest_normal_number_is_noise(exponent):
    result = bnfold.fold(conv_batch_norm((weights() * 10.0**exponent).astype(np.float32)))
    assert result.report.verification.passed
    assert result.report.batch_norms.folded == 1


@pytest.mark.parametrize("gamma", [1e-37, 1e-40, -1e-42])
def test_one_dead_channel_beside_others(gamma):
    scales = np.float32([gamma, 1, -gamma, 1])
    assert bnfold.fold(conv_batch_norm(weights().astype(np.float32), gamma=scales)).report.verification.passed


@pytest.mark.parametrize("scale", [1e-30, 1e-35])
def test_a_channel_above_it_is_not_noise(scale):
    original = conv_batch_norm((weights() * scale).astype(np.float32))
    new = bnfold.fold(original, verify=None).model
    changed = conv_batch_norm((weights() * scale * 1.01).astype(np.float32))
    wrong = bnfold.fold(changed, verify=None).model
    assert check(original.SerializeToString(), new.SerializeToString()).passed
    assert not check(original.SerializeToString(), wrong.SerializeToString()).passed


def test_small_numbers_of_float16_are_numbers():
    assert smallest(np.dtype(np.float16)) < 1e-7
    assert smallest(np.dtype(np.float32)) == pytest.approx(1.1754944e-38)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["weight", "bias", "beta", "mean"])
def test_a_weight_that_is_no_number_passes_where_both_models_agree(dtype, value, where):
    """At default settings, onnxruntime makes NaN in other places than as written: there, both models have to agree."""
    network = ConvBatchNorm()
    getattr(network, where).reshape(-1)[-1] = value
    verdict = check(network.original(dtype), network.folded(dtype), VerifyOptions())
    assert verdict.passed, verdict.problem


@pytest.mark.parametrize("where", ["weight", "bias"])
def test_a_number_that_is_none_in_one_model_alone_fails(where):
    network = ConvBatchNorm()

    def spoil(values):
        values.reshape(-1)[-1] = np.nan

    assert not check(network.original(), network.folded(**{f"spoil_{where}": spoil}), VerifyOptions()).passed


def chain(count, seed, changed=1.0):
    """BatchNorms behind a Relu, of which every one rounds anew."""
    random = np.random.default_rng(seed)
    nodes, parameters = [node("Relu", "x", "t0")], {}
    for number in range(count):
        names = [f"{kind}{number}" for kind in ("g", "b", "m", "v")]
        draws = (np.exp(random.normal(size=3) * 0.3), random.normal(size=3), random.normal(size=3))
        values = [*draws, np.exp(random.normal(size=3) * 0.3)]
        parameters |= {name: value.astype(np.float32) for name, value in zip(names, values, strict=True)}
        nodes.append(node("BatchNormalization", f"t{number} {' '.join(names)}", f"t{number + 1}"))
    parameters["b1"] = (parameters["b1"] * changed).astype(np.float32)
    nodes.append(node("Relu", f"t{count}", "y"))
    return model_proto(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, None)}, parameters)


def test_a_long_chain_of_batch_norms_may_be_as_far_off_as_its_own_parameters_move_it():
    assert bnfold.fold(chain(300, seed=9)).report.verification.passed


def test_a_long_chain_that_is_wrong_at_its_beginning_fails():
    original, wrong = chain(300, seed=9), bnfold.fold(chain(300, seed=9, changed=1.01), verify=None).model
    assert not check(original.SerializeToString(), wrong.SerializeToString(), VerifyOptions()).passed


def test_parameters_per_channel_are_moved_like_weights():
    source = Model.read("the original", chain(2, seed=0).SerializeToString())
    moved = moved_weights(source, 0, 1)
    assert set(moved) == {f"{kind}{number}" for kind in "gbmv" for number in range(2)}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_that_are_one_number_are_rounded_all_alike(dtype):
    """As in models without weights of their own, which onnx has for its tests: a ConstantOfShape makes them."""
    value = numpy_helper.from_array(np.array([0.02], dtype))
    shapes = {"w": [8, 16, 3, 3], **{name: [8] for name in ("gamma", "beta", "mean", "var")}}
    nodes = [node("ConstantOfShape", f"{name}_shape", name, value=value) for name in shapes]
    nodes += [node("Conv", "x w", "c"), node("BatchNormalization", "c gamma beta mean var", "y")]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    stored = {f"{name}_shape": np.array(shape) for name, shape in shapes.items()}
    original = model_proto(nodes, {"x": (element, [1, 16, 8, 8])}, {"y": (element, None)}, stored)
    result = bnfold.fold(original)
    assert result.report.verification.passed
    assert [entry.op_type for entry in result.model.graph.node].count("ConstantOfShape") == 1

    units = {np.float32: 1e-5, np.float16: 1e-2}[dtype]
    wrong = onnx.ModelProto.FromString(result.model.SerializeToString())
    weight = next(entry for entry in wrong.graph.node if entry.output[0] == conv_of(wrong).input[1])
    held = numpy_helper.to_array(weight.attribute[0].t)
    weight.attribute[0].t.CopyFrom(numpy_helper.from_array(held * dtype(1 + units)))
    assert not check(original.SerializeToString(), wrong.SerializeToString()).passed


def conv_of(model):
    return next(entry for entry in model.graph.node if entry.op_type == "Conv")
