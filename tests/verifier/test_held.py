"""Tensors that hold other values in the new model: the check finds by which map, and that excuses nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.engine import fold_graph
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake.tensor_names import rename_tensors
from bnfold.verification import Verification
from bnfold.verifier import check
from bnfold.verifier.local import pair
from bnfold.verifier.local.inferred import infer_held
from bnfold.verifier.local.law import Comparator
from bnfold.verifier.models.aligned import names_in_original, with_names_of_original
from bnfold.verifier.models.changed import find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.held import Map
from bnfold.verifier.models.load import Model
from tests.networks import Network

CHANNELS = 5
SHAPE = [2, 3, 4, 4]
SCALE = np.array([2.0, -0.5, 1.0, 0.25, 3.0]).reshape(1, -1, 1, 1)
SHIFT = np.array([0.5, 1.0, 0.0, -2.0, 0.125]).reshape(1, -1, 1, 1)
LITTLE = 1 + 2e-5

Parameters = dict[str, np.ndarray]
Build = Callable[[Parameters, str], onnx.ModelProto]


def checked(original: onnx.ModelProto, new: onnx.ModelProto) -> Verification:
    return check(original.SerializeToString(), new.SerializeToString())


def maker(net: Network, parameters: Parameters, name: str) -> None:
    """The Conv that makes the tensor."""
    for key, values in parameters.items():
        net.constant(key, values)
    net.node("Conv", ["x", "w", "b"], name)


def drawn() -> Parameters:
    """What the original has: the maker's and the reader's."""
    rng = np.random.default_rng(3)
    shapes = {"w": (CHANNELS, 3, 1, 1), "b": (CHANNELS,), "v": (4, CHANNELS, 1, 1), "a": (4,)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def moved(given: Parameters, scale: np.ndarray = SCALE, shift: np.ndarray = SHIFT) -> Parameters:
    """The same network where the tensor holds y, for x = scale * y + shift; where scale is 0, y is left as it was."""
    divisor = np.where(scale == 0, 1.0, scale).reshape(-1)
    own = np.where(scale == 0, 0.0, shift).reshape(-1)  # y is free there
    return {
        "w": given["w"] / divisor[:, None, None, None],
        "b": (given["b"] - own) / divisor,
        "v": given["v"] * scale,
        "a": given["a"] + (given["v"] * shift).sum((1, 2, 3)),
    }


def by_conv(parameters: Parameters, name: str) -> onnx.ModelProto:
    """A Conv reads the tensor."""
    net = Network(seed=1)
    maker(net, parameters, name)
    net.node("Conv", [name, "v", "a"], "y")
    return net.model({"x": SHAPE}, ["y"])


def by_body(parameters: Parameters, name: str) -> onnx.ModelProto:
    """The branch of an If reads it that is never taken."""
    net = Network(seed=1)
    maker(net, parameters, name)
    inner = {key: net.initializers.pop(key) for key in ("v", "a")}
    net.constant("high", 1e30)
    net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Greater", ["top", "high"], "never")
    tensors = [numpy_helper.from_array(values, key) for key, values in inner.items()]
    output = [helper.make_tensor_value_info("e", TensorProto.FLOAT, [2, 4, 4, 4])]
    reader = helper.make_graph([helper.make_node("Conv", [name, "v", "a"], ["e"])], "branch", [], output, tensors)
    other = helper.make_node("Constant", [], ["o"], value=numpy_helper.from_array(np.ones((2, 4, 4, 4), np.float32)))
    output = [helper.make_tensor_value_info("o", TensorProto.FLOAT, [2, 4, 4, 4])]
    net.node("If", ["never"], "y", then_branch=reader, else_branch=helper.make_graph([other], "branch", [], output))
    return net.model({"x": SHAPE}, {"y": [2, 4, 4, 4]})


def by_recurrence(parameters: Parameters, name: str) -> onnx.ModelProto:
    """An LSTM reads the rows of it."""
    net = Network(seed=1)
    parameters = dict(parameters)
    weight, bias = parameters.pop("v"), parameters.pop("a")
    net.constant("v", weight.reshape(1, 4, CHANNELS))
    net.constant("a", np.concatenate([bias, np.zeros(4)]).reshape(1, 8))
    net.constant("r", np.full((1, 4, 1), 0.5))
    parameters["w"] = parameters["w"].reshape(CHANNELS, 3).T
    for key, values in parameters.items():
        net.constant(key, values)
    net.node("MatMul", ["x", "w"], f"{name}_product")
    net.node("Add", [f"{name}_product", "b"], name)
    net.node("LSTM", [name, "v", "r", "a"], ["y"], hidden_size=1)
    return net.model({"x": [6, 2, 3]}, ["y"])


BUILDS = [by_conv, by_body, by_recurrence]


@pytest.mark.parametrize("build", BUILDS)
def test_a_part_ends_and_another_begins_where_a_map_says_what_is_held(build):
    verdict = checked(build(drawn(), "c"), build(moved(drawn()), "c_new"))
    assert verdict.passed, verdict
    assert [tensor.name for tensor in verdict.tensors] == ["c", "y"]
    assert all(np.isfinite(tensor.excess) for tensor in verdict.tensors)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(("key", "where"), [("w", (0, 0)), ("b", (1,)), ("v", (2, 3)), ("a", (0,))])
def test_a_number_off_by_little_is_found(build, key, where):
    """That of a bias of the maker moves the map, and then the reader does not go with it."""
    wrong = moved(drawn())
    wrong[key][where] *= LITTLE
    verdict = checked(build(drawn(), "c"), build(wrong, "c_new"))
    assert verdict.status == "failed"
    assert ("c" if key == "w" else "y") in [tensor.name for tensor in verdict.tensors if not tensor.passed]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_a_map_that_agrees_with_a_fault_excuses_nothing(build, part):
    """The maker took another map than the reader took back."""
    other = {"scale": SCALE.copy(), "shift": SHIFT.copy()}
    other[part][0, 1] *= LITTLE
    mixed = {**moved(drawn()), **{key: moved(drawn(), **other)[key] for key in ("w", "b")}}
    assert checked(build(drawn(), "c"), build(mixed, "c_new")).status == "failed"


@pytest.mark.parametrize("build", BUILDS)
def test_a_wrong_map_of_a_right_model_is_refused(build, monkeypatch):
    """What is inferred is only proposed."""

    def infer(*arguments):
        held = infer_held(*arguments)
        return None if held is None else replace(held, map=Map(held.map.scale * LITTLE, held.map.shift))

    monkeypatch.setattr(pair, "infer_held", infer)
    assert checked(build(drawn(), "c"), build(moved(drawn()), "c_new")).status == "failed"


def constant(given: Parameters, channel: int) -> Parameters:
    """The maker makes the same number in all places of a channel: 0 times y, and a shift."""
    given["w"][channel] = 0
    given["b"][channel] = SHIFT[0, channel, 0, 0]
    return given


@pytest.mark.parametrize("build", BUILDS)
def test_where_a_scale_is_0_the_tensor_may_hold_anything_and_readers_must_not_care(build):
    scale = SCALE.copy()
    scale[0, 3] = 0
    original = build(constant(drawn(), 3), "c")
    new = moved(constant(drawn(), 3), scale)
    new["w"][3], new["b"][3] = 7.0, -3.0
    assert checked(original, build(new, "c_new")).passed
    reads = {key: values.copy() for key, values in new.items()}
    reads["v"][1, 3] = 1e-3
    verdict = checked(original, build(reads, "c_new"))
    assert [tensor.name for tensor in verdict.tensors if not tensor.passed] == ["y"]
    assert checked(build(drawn(), "c"), build(moved(drawn(), scale), "c_new")).status == "failed"


@pytest.mark.parametrize("build", BUILDS)
def test_what_the_new_model_has_lost_its_readers_must_not_have_cared_for(build):
    given, new = drawn(), moved(drawn())
    given["v"][:, 3] = 0
    new["w"][3], new["b"][3] = 0, 5.0
    new["v"][:, 3] = 0
    new["a"] = given["a"] + (given["v"] * SHIFT).sum((1, 2, 3))
    verdict = checked(build(given, "c"), build(new, "c_new"))
    assert verdict.passed, verdict
    assert [tensor.name for tensor in verdict.tensors] == ["c", "y"]
    given["v"][0, 3] = 1e-3
    assert checked(build(given, "c"), build(new, "c_new")).status == "failed"


def structure(model: onnx.ModelProto) -> Structure:
    return Structure(Model("a model", model))


def test_a_tensor_gets_the_name_of_the_one_in_whose_place_it_stands():
    assert names_in_original(structure(by_conv(drawn(), "c")), structure(by_conv(drawn(), "d"))) == {"d": "c"}


def test_an_output_and_a_name_that_is_taken_stay_what_they_are():
    ours, theirs = by_conv(drawn(), "c"), by_conv(drawn(), "d")
    theirs.graph.initializer.append(numpy_helper.from_array(np.ones(1), "c"))
    assert names_in_original(structure(ours), structure(theirs)) == {}
    ours.graph.output[0].name = ours.graph.node[1].output[0] = "z"
    assert names_in_original(structure(ours), structure(by_conv(drawn(), "d"))) == {"d": "c"}


def test_where_only_names_differ_nothing_is_looked_at():
    original = stream(3)
    names = {name: f"{name}_too" for node in original.graph.node for name in node.output if name != "y"}
    other = onnx.ModelProto()
    other.CopyFrom(original)
    rename_tensors(other.graph, names)
    verdict = checked(original, other)
    assert (verdict.passed, verdict.tensors) == (True, ())


def test_a_tensor_that_is_like_nothing_in_the_original_is_compared_by_what_is_made_of_it():
    """A square of a sum and the sum of squares: y is equal, and no map leads from d to c."""
    models = []
    for name, factors in (("c", (1.0, -1.0)), ("d", (-1.0, 1.0))):
        net = Network(seed=0)
        net.node("Relu", ["x"], name)
        net.node("Mul", [name, net.constant(f"{name}.k", np.float32(factors[0]))], f"{name}.m")
        net.node("Neg", ["x"], f"{name}.n")
        net.node("Relu", [f"{name}.n"], f"{name}.r")
        net.node("Mul", [f"{name}.r", net.constant(f"{name}.l", np.float32(factors[1]))], f"{name}.o")
        net.node("Add", [f"{name}.m", f"{name}.o"], f"{name}.s")
        net.node("Mul", [f"{name}.s", f"{name}.s"], "y")
        models.append(net.model({"x": [2, 3]}, ["y"]))
    verdict = checked(*models)
    assert verdict.passed, verdict


def stream(blocks: int, seed: int = 0) -> onnx.ModelProto:
    """Blocks in the style of ResNet v2: a BatchNorm in front of each branch, and a sum behind it."""
    net = Network(seed=seed)
    net.node("Conv", ["x", net.weight("w", 6, 3, 3, 3), net.weight("b", 6)], "s0", pads=[1] * 4)
    for block in range(blocks):
        _positive_norm(net, f"s{block}", f"n{block}")
        net.node("Relu", [f"n{block}"], f"r{block}")
        net.node("Conv", [f"r{block}", net.weight(f"v{block}", 6, 6, 1, 1), net.weight(f"a{block}", 6)], f"d{block}")
        net.node("Add", [f"s{block}", f"d{block}"], f"s{block + 1}")
    _positive_norm(net, f"s{blocks}", "last")
    net.node("Relu", ["last"], "end")
    net.node("Conv", ["end", net.weight("u", 2, 6, 1, 1)], "y")
    return net.model({"x": [1, 3, 12, 12]}, ["y"])


def _positive_norm(net: Network, source: str, output: str) -> None:
    draws = {"scale": (0.5, 2), "bias": (-1, 1), "mean": (-1, 1), "var": (0.3, 2)}
    names = [net.constant(f"{output}.{key}", net.random.uniform(*span, 6)) for key, span in draws.items()]
    net.node("BatchNormalization", [source, *names], output)


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    port = OnnxPort(copy, TensorStore(None))
    outcome = fold_graph(port)
    assert not outcome.kept
    assert any(fold.direction == "across" for fold in outcome.folds)
    port.finish()
    return copy


def test_parts_of_a_stream_stay_short_however_long_it_is():
    original = stream(5)
    ours = structure(original)
    theirs = with_names_of_original(Model("the new model", folded(original)), ours, ())
    tensors = find_changed_tensors(ours, theirs)
    assert {tensor.name for tensor in tensors} >= {"s0", "s1", "s4", "r0", "r4", "end"}
    assert max(len(tensor.original) for tensor in tensors) <= 3


def test_a_fold_is_checked_along_its_stream():
    verdict = bnfold.fold(stream(5)).report.verification
    assert verdict.passed
    assert {tensor.name for tensor in verdict.tensors} >= {"s0", "s1", "s4", "r0", "r4", "end"}


@pytest.mark.parametrize("seed", range(2))
def test_every_number_of_a_stream_counts(seed):
    original = stream(2, seed)
    new = folded(original)
    assert checked(original, new).passed
    for place, tensor in enumerate(new.graph.initializer):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(new)
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[seed % values.size] += 1e-4 * np.abs(values).max()
        wrong.graph.initializer[place].CopyFrom(numpy_helper.from_array(values, tensor.name))
        assert checked(original, wrong).status == "failed", tensor.name


def branches(seed: int = 0) -> onnx.ModelProto:
    """Branches of a stream as levit has them: a BatchNorm of rows, whose shift goes on through all that follows."""
    net, tensor = Network(seed=seed), "x"
    for place in range(3):
        net.node("MatMul", [tensor, net.weight(f"w{place}", 24, 24)], f"m{place}")
        net.node("Flatten", [f"m{place}"], f"f{place}", axis=2)
        net.batch_norm(f"f{place}", f"n{place}", 24)
        net.initializers["shape"] = np.asarray([1, 5, 24], np.int64)
        net.node("Reshape", [f"n{place}", "shape"], f"r{place}")
        tensor = net.node("Add", [tensor, f"r{place}"], f"s{place}")
    net.node("MatMul", [tensor, net.weight("end", 24, 4)], "p")
    net.node("Add", ["p", net.weight("b", 4)], "y")
    return net.model({"x": [1, 5, 24]}, ["y"])


def test_what_a_shift_passes_on_its_way_is_looked_at_too():
    original = branches()
    verdict = bnfold.fold(original).report.verification
    assert verdict.passed
    assert {tensor.name for tensor in verdict.tensors} >= {"s0", "s1", "s2"}


def test_a_sequence_of_tensors_holds_what_no_map_says():
    net = Network(seed=0)
    net.batch_norm("x", "n", 3)
    net.node("SequenceConstruct", ["n", "x"], "s")
    net.initializers["first"] = np.asarray(0, np.int64)
    net.node("SequenceAt", ["s", "first"], "t")
    net.node("Conv", ["t", net.weight("w", 2, 3, 1, 1)], "y")
    result = bnfold.fold(net.model({"x": [1, 3, 4, 4]}, ["y"]))
    assert (result.report.batch_norms.folded, result.report.verification.passed) == (1, True)


@pytest.mark.parametrize(("off", "passes"), [(2.0**-24, True), (2e-5, False)], ids=["rounded on the way", "wrong"])
def test_a_number_that_was_rounded_before_another_fold_cancelled_it_is_no_difference(off, passes):
    """The mean of the BatchNorm was stored between two folds, and the second one left next to nothing of it."""
    weight, mean, beta = np.float32(drawn()["w"]), np.float32([0.05] * CHANNELS), np.float32([0.05001] * CHANNELS)
    shift = mean * (1 + off) - beta.astype(np.float64)
    before, after = (Network(seed=1) for _ in range(2))
    maker(before, {"w": weight, "b": np.zeros(CHANNELS)}, "c")
    parameters = {"scale": np.ones(CHANNELS), "beta": beta, "mean": mean, "variance": np.full(CHANNELS, 1 - 1e-5)}
    for name, values in parameters.items():
        before.constant(name, values)
    before.node("BatchNormalization", ["c", "scale", "beta", "mean", "variance"], "n", epsilon=1e-5)
    maker(after, {"w": weight, "b": -shift}, "c_new")
    kernel = drawn()["v"]
    for net, tensor, bias in ((before, "c", 0 * shift), (after, "c_new", shift)):
        net.node("Relu", ["n" if net is before else tensor], "r")
        biases = (kernel * bias.reshape(1, -1, 1, 1)).sum((1, 2, 3))
        net.node("Conv", [tensor, net.constant("v", kernel), net.constant("a", biases)], "y")
    models = [net.model({"x": SHAPE}, ["r", "y"]) for net in (before, after)]
    assert checked(*models).passed == passes


def test_a_channel_that_is_dead_on_the_first_values_has_the_map_that_others_show():
    alive = np.random.default_rng(0).standard_normal((8, 2))
    dead = np.stack([alive[:, 0], -1 - np.abs(alive[:, 1])], axis=1)
    draws = ([([np.concatenate([values, np.zeros((8, 2))])], 2)] for values in (dead, alive, alive, alive))

    def run(given, stored):
        return np.maximum(given[0], 0) * stored[0]

    numbers = np.ones(2, np.float32), np.full(2, 2, np.float32)
    held = infer_held(Comparator(run, run, ([numbers[0]], [numbers[1]]), [True]), draws)
    np.testing.assert_allclose(held.map.scale, [[0.5, 0.5]], rtol=1e-6)
    assert held.step.scale.max() < 1e-6


def test_shifts_that_meet_and_cancel_leave_none():
    """Their roundings may cancel in some draws, and do not in what is left of them."""

    def shifted(given, stored):
        return given[0] + stored[0] - stored[1]

    random = np.random.default_rng(0)
    wanted = random.uniform(0.5, 1, 256)
    there, back = (np.float32(wanted * (1 + 2.0**-24 * random.uniform(-1, 1, 256))) for _ in range(2))
    draws = ([([np.concatenate([values, np.zeros((8, 256))])], 2)] for values in random.standard_normal((4, 8, 256)))
    pair = Comparator(lambda given, _: given[0], shifted, ([], [there, back]), [True] * 2, units=4.0)
    assert (there != back).any()
    assert not infer_held(pair, draws).map.shift.any()


def test_what_changes_its_size_with_a_rounding_says_nothing():
    random = np.random.default_rng(0)
    one, two = np.float32([[1.0, 1.5, 0.75]]), np.float32([[2.0, 3.0, 1.5]])

    def times(usual):
        return lambda given, stored: (given[0] * stored[0])[:, : 3 if np.array_equal(stored[0], usual) else 2]

    draws = ([([np.concatenate([values, np.zeros((8, 3))])], 2)] for values in random.standard_normal((4, 8, 3)))
    held = infer_held(Comparator(times(two), times(one), ([two], [one]), [True]), draws)
    np.testing.assert_allclose(held.map.scale, [[2.0, 2.0, 2.0]])
    assert not held.map.shift.any()
