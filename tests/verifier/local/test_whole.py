"""Models as wholes in float64: their noise where nothing else shows it."""

import weakref

import numpy as np
import onnx

import bnfold
from bnfold.verifier.compare.noise import Perturbed
from bnfold.verifier.local import whole
from bnfold.verifier.local.whole import as_noise_of, in_float64
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from tests.differential.streams import generate
from tests.networks import Network
from tests.verifier.spoiling import spoiled

MEMORY = 2**30


def losing(depth: int, seed: int = 0) -> onnx.ModelProto:
    """Each BatchNorm takes 0.1 off and adds it again: small values lose digits there. Weights are Constants."""
    net, last = Network(seed=seed), "x"
    held = [net.constant(key, np.full(4, value)) for key, value in {"s": 1, "b": 0.1, "m": 0.1, "v": 1}.items()]
    values = net.random.normal(size=(4, 4, 1, 1)) / 2
    for number in range(depth):
        kernel = net.constant(f"w{number}", values)
        name = net.node("Conv", [last, kernel], f"c{number}")
        last = net.node("BatchNormalization", [name, *held], f"n{number}" if number < depth - 1 else "y")
    model = net.model({"x": [1, 4, 4, 4]}, ["y"])
    nodes = [onnx.helper.make_node("Constant", [], [entry.name], value=entry) for entry in model.graph.initializer]
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def seen(model: onnx.ModelProto, expected, memory: int = MEMORY):
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32)
    return list(in_float64(Structure(Model("the original", model)), {"x": x}, expected(x), memory))


def by_onnxruntime(model: onnx.ModelProto):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    return lambda x: session.run(None, {"x": x})


def test_it_is_the_model_itself_but_for_rounding():
    model = losing(5)
    (exact,) = seen(model, by_onnxruntime(model))
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32)
    (own,) = by_onnxruntime(model)(x)
    assert exact.outputs[0].dtype == own.dtype
    assert 0 < np.abs(exact.outputs[0] - own).max() < 1e-5 * np.abs(own).max()


def test_what_takes_too_much_or_is_another_computation_is_no_rounding():
    model = losing(3)
    run = by_onnxruntime(model)
    assert seen(model, run, memory=10) == []
    assert seen(model, lambda x: [run(x)[0] * 1.2]) == []


def test_a_fold_that_loses_fewer_digits_than_the_original_is_no_difference(monkeypatch):
    original = losing(60, seed=1)
    folded = bnfold.fold(original, verify=None, merge_branches=False).model
    assert bnfold.verify(original, folded).passed

    def change(values):
        values *= 1.001

    wrong = spoiled(folded, lambda model: model.graph.initializer[30], change)
    assert not bnfold.verify(original, wrong).passed
    monkeypatch.setattr("bnfold.verifier.pipeline.in_float64", lambda *_: iter(()))
    assert not bnfold.verify(original, folded).passed


def test_a_fold_that_loses_more_digits_than_the_original_is_no_difference(monkeypatch):
    """Behind it a tensor lies 60 deviations from zero."""
    original = generate(710_026)
    folded = bnfold.fold(original, verify=None).model
    assert bnfold.verify(original, folded).passed
    monkeypatch.setattr("bnfold.verifier.pipeline.as_noise_of", lambda *_: iter(()))
    assert not bnfold.verify(original, folded).passed


def test_what_cannot_be_taken_from_each_other_is_no_noise():
    one, two, other = np.float32([3]), np.float32([1, 2]), np.float32([1, 4])
    expected, made, exact = [one, two, "text"], [two, two, "text"], [two, other, "text"]
    (noise,) = as_noise_of(expected, made, [Perturbed(exact)])
    np.testing.assert_equal(noise.outputs, [one, other, "text"])


def test_one_weight_at_a_time_is_in_float64(monkeypatch):
    alive, most = [], []

    def noted(held):
        made = wide(held)
        alive.append(weakref.ref(made))
        most.append(sum(ref() is not None and ref().size == 16 for ref in alive))
        return made

    wide = whole.wide
    monkeypatch.setattr(whole, "wide", noted)
    model = losing(6)
    assert len(seen(model, by_onnxruntime(model))) == 1
    assert max(most) <= 2
