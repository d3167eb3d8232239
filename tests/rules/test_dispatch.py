"""Which way a meaning lets a map go at all; what it does not let pass, it refuses and says why."""

import inspect
import typing

import numpy as np
import pytest

from bnfold import rules
from bnfold.affine import identity, per_channel
from bnfold.errors import InternalError
from bnfold.rearrange import Selection, Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.rules import carry
from bnfold.rules.dispatch import ROWS
from bnfold.semantics import (
    Absorber,
    AffineMap,
    BiasedSum,
    BroadcastScale,
    Commuting,
    Contraction,
    Embedding,
    Form,
    FusedContraction,
    IntegerProduct,
    Meaning,
    Normalisation,
    Opaque,
    Rearrangement,
    Recurrent,
    Split,
)
from bnfold.weight import Weight
from tests.rules.laws import assert_refused

SCALE = per_channel(np.array([2.0, 3.0]), 0.0, rank=2)
CONTRACTION = Contraction(Weight(np.ones((1, 2, 2))), None, output_rank=2, output_axis=1)
RECURRENT = Recurrent(np.ones((1, 4, 2)), None, input_axis=2)


@pytest.mark.parametrize("move", [rules.pull, rules.push])
@pytest.mark.parametrize("reason", Reason)
def test_opaque(move, reason):
    refusal = move(Opaque(reason, "what was seen", hint="what helps"), {0: identity(4)})
    assert refusal == Refusal(reason, "what was seen", path=(), hint="what helps")


def test_nothing_moves_out_of_the_gates_of_a_recurrent_operator():
    expected = "the operator ends in what is not linear: gates, or a softmax"
    assert_refused(rules.pull(RECURRENT, {0: SCALE}), Reason.NOT_LINEAR, expected)


def test_nothing_moves_through_the_statistics_of_a_normalisation():
    expected = "a normalisation takes its statistics from what it reads"
    assert_refused(rules.push(Normalisation(SCALE, (1,)), {0: SCALE}), Reason.NOT_LINEAR, expected)


@pytest.mark.parametrize(
    ("rounds", "reason", "expected"),
    [
        (True, Reason.NOT_LINEAR, "the operator rounds what it reads to integers, or reads such"),
        (False, Reason.QUANTIZED, "the integers of the weight have one scale for each block of inputs"),
    ],
)
def test_nothing_moves_into_a_product_of_integers(rounds, reason, expected):
    assert_refused(rules.push(IntegerProduct(SCALE, (1,), rounds), {0: SCALE}), reason, expected)


@pytest.mark.parametrize("index", [0, 1])
def test_nothing_moves_through_an_index(index):
    answer = rules.push(Embedding(np.ones((5, 2)), 0, 1), {index: SCALE})
    assert_refused(answer, Reason.NOT_LINEAR, "the tensor is an index")


@pytest.mark.parametrize(
    "node",
    [
        CONTRACTION,
        FusedContraction(CONTRACTION),
        RECURRENT,
        AffineMap(SCALE, Form.SCALE),
        Commuting(2),
        Split(1, 2, ((0, 1), (1, 2)), 2),
        Rearrangement(()),
    ],
    ids=lambda node: type(node).__name__,
)
@pytest.mark.parametrize("indices", [(1,), (0, 1)], ids=["parameter", "both"])
def test_a_map_does_not_enter_through_a_parameter(node, indices):
    """MatMul(x, weight) whose weight is computed; PRelu whose slope is; Expand whose shape is."""
    answer = rules.push(node, dict.fromkeys(indices, SCALE))
    assert_refused(answer, Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")


@pytest.mark.parametrize("outputs", [(1,), (0, 1)])
def test_only_a_split_has_several_outputs(outputs):
    """Statistics, indices, the sum that a fused norm takes: they are no result, and take no map."""
    answer = rules.pull(CONTRACTION, dict.fromkeys(outputs, SCALE))
    assert_refused(answer, Reason.NOT_LINEAR, "the tensor is another output of the operator than its result")


def test_some_output_must_have_a_map():
    with pytest.raises(InternalError, match=r"expected one map at index 0, got some at \[\]"):
        rules.pull(CONTRACTION, {})


@pytest.mark.parametrize("places", [(0, 1), (2, 3)])
def test_who_shows_some_places_of_a_tensor_sees_no_map_on_others(places):
    """Slices and splits of other places make the same of both; whatever else reads the tensor may not."""
    nothing = identity(2)
    affine = per_channel(np.where(np.isin(range(4), places), -2.0, 1.0), 0.0, rank=2)
    first = Rearrangement((Selection(1, range(2), 4),))
    assert rules.shows_a_difference(first, 0, affine, nothing) == (0 in places)
    assert rules.shows_a_difference(Split(1, 2, ((0, 2),), 4), 0, affine, nothing) == (0 in places)
    assert rules.shows_a_difference(Rearrangement((Transposition((1, 0)),)), 0, affine, nothing)
    assert rules.shows_a_difference(Commuting(2), 0, affine, nothing)
    assert rules.shows_a_difference(first, 1, affine, nothing)
    assert not rules.shows_a_difference(Commuting(2), 0, affine, affine)


def test_every_meaning_has_one_row():
    meanings = [row.meaning for row in ROWS]
    assert len(set(meanings)) == len(meanings)
    assert set(meanings) == set(typing.get_args(Meaning))


def test_every_rule_is_listed_once_and_is_the_one_that_dispatch_takes():
    taken = {inspect.unwrap(rule) for row in ROWS for rule in (row.pull, row.push)}
    taken |= {rules.read_batch_norm_as_affine, rules.push_shift_through_contraction, rules.push_drift}
    taken |= {rules.push_scale_past_addition}
    taken |= {rules.lower_to_addition, rules.lower_to_arithmetic, rules.lower_to_convolution}
    taken |= {rules.absorb_widening, rules.read_map_as_contraction, rules.chain_contractions, rules.merge_branches}
    taken |= {rule for name, rule in vars(carry).items() if name.startswith("settle_")}
    assert len(set(rules.ALL)) == len(rules.ALL)
    assert set(rules.ALL) == {rule for rule in taken if not rule.__qualname__.endswith("<lambda>")}


ABSORBERS = [
    (AffineMap(SCALE, Form.SCALE), 3.0),
    (BroadcastScale(np.array([[2.0, -3.0]])), 3.0),
    (BiasedSum((0, 2), np.array([[2.0, -3.0]]), 1), 0.0),
    (CONTRACTION, 1.0),
    (FusedContraction(CONTRACTION), 1.0),
    (Normalisation(SCALE, (1,)), 3.0),
    (IntegerProduct(SCALE, (1,)), 3.0),
    (RECURRENT, 1.0),
    (Embedding(np.array([[1.0, -7.0]]), 0, 1), 7.0),
]


@pytest.mark.parametrize(("node", "factor"), ABSORBERS, ids=lambda node: type(node).__name__)
def test_every_absorber_says_how_large_its_factors_are(node, factor):
    assert node.largest_factor == factor
    assert {type(node) for node, _ in ABSORBERS} == {m for m in typing.get_args(Meaning) if issubclass(m, Absorber)}


@pytest.mark.parametrize(("node", "_factor"), ABSORBERS, ids=lambda node: type(node).__name__)
def test_what_absorbs_its_output_requires_nothing_of_its_input(node, _factor):
    shift = per_channel(1.0, np.array([2.0, 3.0]), rank=2)
    for affine in (SCALE, shift) if node.absorbs_output else ():
        assert rules.pull(node, {0: affine}).requirements == {}
