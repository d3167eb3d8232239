"""The catalogue itself: faults are what they say, right folds are none, and nothing else is touched."""

import numpy as np
import onnx
import pytest

import bnfold
from tests.faults.catalogue import KINDS, Fault, Spread, inject
from tests.faults.edits import NoFault, NotHere, Wrong, written
from tests.faults.graphs import Graphs
from tests.faults.layouts import read
from tests.faults.networks import FLOAT32, NETWORKS, grouped, linear, padded, stack
from tests.faults.sites import Subject
from tests.folding import session
from tests.networks import Network

ONCE = np.random.default_rng


def subject(model: onnx.ModelProto) -> Subject:
    result = bnfold.fold(model, verify=None, merge_branches=False)
    return Subject(model, result.model, result.report.outcome.folds, result.report.outcome.kept)


def one(kind: str, model: onnx.ModelProto, fold: int = 0) -> tuple[Subject, Fault]:
    of = subject(model)
    fault = inject(kind, of, of.folds[fold], ONCE(0))
    assert isinstance(fault, Fault), fault
    return of, fault


@pytest.mark.parametrize("name", NETWORKS)
def test_what_bnfold_wrote_is_what_the_original_says_and_no_fault(name):
    of = subject(NETWORKS[name](3))
    sites = [site for fold in of.folds for site in of.sites(fold)]
    assert len(sites) == sum(len(fold.into) for fold in of.folds) > 0
    for site in sites:
        assert site.exact, site.label
        right = Wrong({site.index: site.exact.with_map(site.exact.map)}, "nothing")
        assert isinstance(written(of.folded.model, right), NoFault), site.label


def test_every_kind_applies_somewhere():
    kinds = {fault.kind for build in NETWORKS.values() for fault in Spread(subject(build(0)), ONCE(0)).draw(len(KINDS))}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("name", FLOAT32)
def test_a_fault_is_a_valid_model_and_leaves_both_models_alone(name):
    of = subject(FLOAT32[name](1))
    before = [graphs.model.SerializeToString(deterministic=True) for graphs in (of.original, of.folded)]
    for fault in Spread(of, ONCE(1)).draw(len(KINDS)):
        onnx.checker.check_model(fault.model)
        session(fault.model)
        assert fault.model != of.folded.model
    assert before == [graphs.model.SerializeToString(deterministic=True) for graphs in (of.original, of.folded)]


def test_the_same_seed_makes_the_same_faults():
    made = [[fault.what for fault in Spread(subject(stack(0)), ONCE(7)).draw(20)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) == 20


@pytest.mark.parametrize(("kind", "times"), [("eps forgotten", 0.0), ("eps added twice", 2.0)])
def test_a_wrong_epsilon_is_the_fold_of_a_model_that_has_it(kind, times):
    model = stack(0)
    of, fault = one(kind, model, fold=1)
    node = next(entry for entry in model.graph.node if entry.output[0] == "n1")
    node.attribute.append(onnx.helper.make_attribute("epsilon", times * 1e-5))
    expected = parameters(bnfold.fold(model, verify=None, merge_branches=False).model, 1)
    got = parameters(fault.model, 1)
    np.testing.assert_allclose(got.weight, expected.weight, rtol=2e-6)
    np.testing.assert_allclose(got.bias, expected.bias, rtol=2e-6)
    assert not np.allclose(got.weight, parameters(of.folded.model, 1).weight, rtol=2e-6, atol=0)


def test_another_batch_norm_is_the_fold_of_a_model_that_has_it():
    model = linear(0)
    _, fault = one("another BatchNorm's parameters", model)
    names = {entry.output[0]: entry.input for entry in model.graph.node if entry.op_type == "BatchNormalization"}
    names["n1"][1:] = names["y"][1:]
    expected, got = (
        parameters(bnfold.fold(model, verify=None, merge_branches=False).model, 0),
        parameters(fault.model, 0),
    )
    np.testing.assert_allclose(got.weight, expected.weight, rtol=1e-6)
    np.testing.assert_allclose(got.bias, expected.bias, rtol=1e-6)


@pytest.mark.parametrize("kept", [False, True])
def test_a_shift_dropped_at_the_padding_shows_along_the_border_only(kept):
    of = subject(padded(0))
    target = next(entry for entry in of.targets if (entry in of.kept) == kept)
    fault = inject("shift dropped at the padding", of, target, ONCE(0))
    assert isinstance(fault, Fault), fault
    values = {"x": ONCE(0).normal(size=(2, 4, 6, 6)).astype(np.float32)}
    expected, got = (session(model).run(None, values)[0] for model in (of.original.model, fault.model))
    wrong = np.abs(expected - got).max(axis=(0, 1)) > 1e-4 * np.abs(expected).max()
    # The fault of the BatchNorm that stays passes another padded Conv behind it.
    border = 2 if kept else 1
    assert not wrong[border:-border, border:-border].any()
    assert wrong[0].any()
    assert wrong[:, 0].any()


def test_interleaved_groups_take_each_others_scale():
    of, fault = one("groups interleaved wrongly", grouped(0))
    site = of.sites(of.folds[0])[0]
    before, wrong = site.exact.before, parameters(fault.model, 0)
    ratio = (wrong.weight / before.weight).reshape(12, -1)[:, 0]
    scale = site.exact.map.scale
    np.testing.assert_allclose(ratio, [scale[group + 4 * place] for group in range(4) for place in range(3)], rtol=1e-5)


def test_rounding_twice_moves_float16_by_its_last_places():
    of, fault = one("float16 rounding done twice", NETWORKS["linear_float16"](0))
    right, wrong = parameters(of.folded.model, 0).weight, parameters(fault.model, 0).weight
    assert np.any(right != wrong)
    np.testing.assert_allclose(wrong, right, rtol=3e-3)


def test_a_change_within_rounding_is_no_fault():
    of = subject(plain(variance=1e3))
    assert isinstance(inject("eps added twice", of, of.folds[0], ONCE(0)), NoFault)


def test_a_variance_of_zero_needs_its_epsilon():
    of = subject(plain(variance=0.0))
    assert isinstance(inject("eps forgotten", of, of.folds[0], ONCE(0)), NotHere)


def test_nothing_is_wrong_with_channels_that_compute_nothing():
    of = subject(plain(gamma=0.0, beta=0.0))
    kinds = KINDS.keys() - {"one operator left as it was"}  # as it was, it computes something
    answers = [inject(kind, of, of.folds[0], ONCE(0)) for kind in sorted(kinds)]
    assert all(isinstance(answer, (NoFault, NotHere)) for answer in answers), answers


@pytest.mark.parametrize("kind", ["two channels swapped", "scale on the wrong axis"])
def test_equal_channels_cannot_be_exchanged(kind):
    of = subject(plain(weight=0.5))
    assert isinstance(inject(kind, of, of.folds[0], ONCE(0)), NoFault)


def test_a_pad_without_a_number_of_its_own_is_no_place():
    net = Network()
    net.node("Conv", ["x", net.weight("w", 4, 3, 1, 1)], "c")
    net.batch_norm("c", "n", 4)
    net.initializers["pads"] = np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    net.node("Pad", ["n", "pads"], "y")
    of = subject(net.model({"x": [1, 3, 4, 4]}, ["y"]))
    assert isinstance(inject("the padding's number not mapped", of, of.folds[0], ONCE(0)), NotHere)


def parameters(model: onnx.ModelProto, index: int):
    graphs = Graphs(model)
    return read(graphs, graphs.operators[index])


def plain(*, weight: float | None = None, gamma: float = 2.0, beta: float = 1.0, variance: float = 1.0):
    """Conv and BatchNorm with the same statistics in every channel."""
    net = Network()
    weights = net.weight("w", 4, 4, 1, 1) if weight is None else net.constant("w", np.full((4, 4, 1, 1), weight))
    values = (gamma, beta, 0.5, variance)
    names = [net.constant(f"p{number}", np.full(4, value)) for number, value in enumerate(values)]
    net.node("Conv", ["x", weights], "c")
    net.node("BatchNormalization", ["c", *names], "y")
    return net.model({"x": [1, 4, 3, 3]}, ["y"])
