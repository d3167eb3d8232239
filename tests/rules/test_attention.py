"""Products of activations and softmax: what passes, what is forgotten, and what is neither."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, Drift, identity
from bnfold.frontends.common.products import product_of_activations
from bnfold.refusal import Reason, Refusal
from bnfold.rules import Moved, carry, pull, push
from bnfold.rules.carry import Sides
from bnfold.semantics import (
    AffineMap,
    Attention,
    Commuting,
    Factor,
    Form,
    Masking,
    MatrixProduct,
    NoShift,
    Opaque,
    Operand,
    Softmax,
    Sum,
)
from tests.rules import values
from tests.rules.evaluate import evaluate
from tests.rules.laws import assert_pull_law, assert_push_law, assert_refused, assert_same

LENGTHS = st.integers(1, 3)


def softmax(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@st.composite
def products(draw, rows_sum_to_one):
    """Of rank 2 to 4; the rows of the left factor sum to 1 to the last bit, or to whatever they like."""
    rank, (n, k, m) = draw(st.integers(2, 4)), (draw(LENGTHS) for _ in range(3))
    batch = tuple(draw(LENGTHS) for _ in range(rank - 2))
    left = values.numbers((*batch, n, k), draw(values.SEEDS))
    if rows_sum_to_one:
        left = np.zeros((*batch, n, k))
        left[..., draw(st.integers(0, k - 1))] = 1.0
    right = values.numbers((*(draw(st.sampled_from([1, length])) for length in batch), k, m), draw(values.SEEDS))
    node = product_of_activations((left.shape, right.shape), (False, False), rows_sum_to_one=rows_sum_to_one)
    assert node.rank == rank
    return values.Case(node, {0: left, 1: right})


def scales(data, shape, axes):
    return data.draw(values.maps(shape, axes)).scale_alone()


@given(data=st.data(), case=products(rows_sum_to_one=False))
def test_scales_pass_that_are_alike_along_the_summed_axis(data, case):
    rank = case.node.rank
    kept = ([*range(rank - 1)], [*range(rank - 2), rank - 1])
    maps = {index: scales(data, case.inputs[index].shape, axes) for index, axes in enumerate(kept)}
    chosen = {index: maps[index] for index in data.draw(st.sets(st.integers(0, 1), min_size=1))}
    assert_push_law(case, chosen)


@given(data=st.data(), case=products(rows_sum_to_one=True))
def test_a_shift_passes_weights_whose_rows_sum_to_1(data, case):
    rank = case.node.rank
    affine = data.draw(values.maps(case.inputs[1].shape, [*range(rank - 2), rank - 1]))
    moved = assert_push_law(case, {1: affine})
    assert not isinstance(moved.requirements[0], Drift)


@given(data=st.data(), case=products(rows_sum_to_one=True))
def test_a_map_behind_goes_to_what_the_weights_are_applied_to(data, case):
    moved = assert_pull_law(case, {0: data.draw(values.maps(_shape(case), [case.node.rank - 1]))})
    assert moved.requirements.keys() <= {0, 1}


@given(data=st.data(), case=products(rows_sum_to_one=False))
def test_a_scale_behind_goes_to_the_factor_with_its_axis(data, case):
    rank = case.node.rank
    axis = data.draw(st.sampled_from([rank - 2, rank - 1]))
    assert_pull_law(case, {0: scales(data, _shape(case), [axis])})


def _shape(case):
    return np.matmul(case.inputs[0], case.inputs[1]).shape


@given(data=st.data(), case=products(rows_sum_to_one=False))
def test_a_shift_that_is_alike_in_all_columns_drifts_to_the_softmax(data, case):
    """Whatever the left factor is, it adds the same to a whole row."""
    rank = case.node.rank
    affine = data.draw(values.maps(case.inputs[1].shape, [*range(rank - 1)])).shift_alone()
    if not affine.has_shift:
        return
    drift = push(case.node, {1: affine}).requirements[0]
    assert (type(drift), drift.axis, drift.is_identity) == (Drift, rank - 1, False)
    left, right = case.inputs[0], case.inputs[1]
    added = left @ (right + affine.shift) - left @ right
    bound = np.abs(left) @ (np.abs(right) + np.abs(affine.shift))
    assert_same(added, np.broadcast_to(added[..., :1], added.shape), 4 * (bound + bound[..., :1]))


@st.composite
def einsums(draw):
    """Any sum of products: axes of the result in any order, in one factor or in both, and up to two that are summed."""
    shared, own = draw(st.integers(0, 2)), [draw(st.integers(0, 2)) for _ in range(2)]
    rank = max(shared + sum(own), 1)
    own[0] += rank - shared - sum(own)
    order = draw(st.permutations(range(rank)))
    lengths = [draw(LENGTHS) for _ in range(rank)]
    summed = [draw(LENGTHS) for _ in range(draw(st.integers(0, 2)))]
    kept = [order[: shared + own[0]], [*order[:shared], *order[shared + own[0] :]]]
    factors, tensors = [], {}
    for index, places in enumerate(kept):
        axes = draw(st.permutations([*places, *range(-len(summed), 0)]))
        in_order = iter(range(-len(summed), 0))
        axes = [axis if axis >= 0 else next(in_order) for axis in axes]
        shape = tuple(lengths[a] if a >= 0 else summed[a] for a in axes)
        factors.append(Factor(tuple(a if a >= 0 else None for a in axes), shape))
        tensors[index] = values.numbers(shape, draw(values.SEEDS))
    return values.Case(MatrixProduct(tuple(factors), rank), tensors)


@given(data=st.data(), case=einsums())
def test_scales_pass_any_sum_of_products(data, case):
    chosen = data.draw(st.sets(st.integers(0, 1), min_size=1))
    kept = [[a for a, place in enumerate(factor.axes) if place is not None] for factor in case.node.factors]
    assert_push_law(case, {index: scales(data, case.inputs[index].shape, kept[index]) for index in chosen})


@given(data=st.data(), case=einsums())
def test_a_scale_behind_any_sum_of_products_goes_to_the_factor_with_its_axes(data, case):
    (y,) = evaluate(case.node, case.inputs)
    axes = [place for place in data.draw(st.sampled_from(case.node.factors)).axes if place is not None]
    assert_pull_law(case, {0: scales(data, y.shape, axes)})


@given(data=st.data(), case=products(rows_sum_to_one=False))
def test_a_product_with_a_bias_takes_a_shift(data, case):
    node = replace(case.node, takes_bias=True)
    affine = data.draw(values.maps(_shape(case), [case.node.rank - 1]))
    moved = assert_pull_law(values.Case(node, case.inputs), {0: affine})
    assert not any(requirement.has_shift for requirement in moved.requirements.values())


TOKENS = product_of_activations(((2, 3, 4), (2, 4, 5)), (False, False), rows_sum_to_one=False)
WEIGHTED = MatrixProduct(TOKENS.factors, 3, rows_sum_to_one=True)
ROWS = Affine(np.ones((1, 1, 1)), np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1))
COLUMNS = Affine(np.ones((1, 1, 1)), np.arange(5.0).reshape(1, 1, 5))
SUMMED = Affine(np.arange(1.0, 5.0).reshape(1, 4, 1), np.zeros((1, 1, 1)))
BOTH = Affine(np.ones((1, 1, 1)), np.arange(20.0).reshape(1, 4, 5))


@pytest.mark.parametrize(
    ("node", "inputs", "reason"),
    [
        (TOKENS, {0: ROWS}, Reason.SHIFT_CANNOT_PASS),
        (WEIGHTED, {0: ROWS}, Reason.SHIFT_CANNOT_PASS),
        (TOKENS, {1: COLUMNS}, Reason.SHIFT_CANNOT_PASS),
        (TOKENS, {1: BOTH}, Reason.SHIFT_CANNOT_PASS),
        (WEIGHTED, {1: BOTH}, Reason.SHIFT_CANNOT_PASS),
        (WEIGHTED, {0: identity(3), 1: COLUMNS}, Reason.SHIFT_CANNOT_PASS),
        (TOKENS, {1: SUMMED}, Reason.WRONG_AXIS),
    ],
)
def test_what_does_not_pass_a_product(node, inputs, reason):
    answer = push(node, inputs)
    assert isinstance(answer, Refusal)
    assert answer.reason is reason


def test_what_does_not_leave_a_product():
    assert pull(TOKENS, {0: COLUMNS}).reason is Reason.SHIFT_CANNOT_PASS
    assert pull(WEIGHTED, {0: ROWS}).reason is Reason.WRONG_AXIS
    unknown = product_of_activations(((None, 3, 4), (None, 4, 5)), (False, False), rows_sum_to_one=False)
    batch = Affine(np.array([2.0, 3.0]).reshape(2, 1, 1), np.zeros((1, 1, 1)))
    assert pull(unknown, {0: batch}).reason is Reason.UNKNOWN_SHAPE


@given(data=st.data(), rank=st.integers(1, 3))
def test_a_softmax_forgets_a_shift_that_is_alike_along_it(data, rank):
    x = data.draw(values.tensors(rank, 3, rank - 1)) % 7
    affine = data.draw(values.maps(x.shape, [*range(rank - 1)])).shift_alone()
    node = Softmax("Softmax", (rank - 1,))
    assert push(node, {0: affine}).requirements == {}
    small = Affine(affine.scale, affine.shift % 7)
    np.testing.assert_allclose(softmax(x + small.shift), softmax(x), rtol=1e-12, atol=1e-300)


def test_what_a_softmax_does_not_forget():
    node = Softmax("Softmax", (1,))
    scale = Affine(np.full((1, 1), 2.0), np.zeros((1, 1)))
    along = Affine(np.ones((1, 1)), np.array([[1.0, 2.0]]))
    assert_refused(push(node, {0: scale}), Reason.NOT_LINEAR, "Softmax is not linear, and forgets no scale")
    assert_refused(
        push(node, {0: along}), Reason.WRONG_AXIS, "the shift varies along axis 1, over which Softmax is taken"
    )
    assert_refused(pull(node, {0: along}), Reason.NOT_LINEAR, "a softmax is not linear")
    assert push(Softmax("Softmax", (0, 1)), {0: along}).reason is Reason.WRONG_AXIS


DRIFT = Drift.along_last_axis(3)
PASSED = [
    AffineMap(Affine(np.full((1, 3, 1), 2.0), np.zeros((1, 1, 1))), Form.SCALE),
    AffineMap(Affine(np.full((1, 1, 1), -1.0), np.arange(5.0).reshape(1, 1, 5)), Form.SHIFT),
    Sum((Operand((2, 3, 5), 3), Operand((1, 1, 5), 1)), 3),
    Masking(Operand((2, 3, 5), 3), 3),
    Commuting(3, shift_factor=0.5),
]
STOPPED = [
    AffineMap(Affine(np.arange(5.0).reshape(1, 1, 5), np.zeros((1, 1, 1))), Form.SCALE),
    AffineMap(identity(3), Form.SCALE_AND_SHIFT),
    Sum((Operand((1, 3, 5), 3), Operand((2, 2, 3, 5), 4)), 4),
    Masking(Operand((1, 2, 3, 5), 3), 4),
    Sum((Operand((2, 3, 5), 3),) * 2, 3, of_one_tensor=True),
    Commuting(3, shift_factor=NoShift("it bends")),
    Commuting(3, mixed_axes=(2,)),
    Softmax("Softmax", (1,)),
    Softmax("Softmax", (1, 2)),
    TOKENS,
    Opaque(Reason.NOT_LINEAR, "is not linear"),
]


@pytest.mark.parametrize("node", PASSED, ids=lambda node: type(node).__name__)
def test_drift_passes_what_is_linear_and_alike_along_it(node):
    moved = push(node, {0: DRIFT})
    assert isinstance(moved, Moved)
    assert moved.requirements == {0: DRIFT}
    assert push(Softmax("Softmax", (2,)), {0: DRIFT}).requirements == {}


@pytest.mark.parametrize("node", STOPPED, ids=lambda node: type(node).__name__)
def test_drift_is_stopped_by_all_else(node):
    assert push(node, {0: DRIFT}).reason is Reason.SHIFT_CANNOT_PASS


def test_drift_is_no_map_that_others_could_undo():
    rows = Affine(np.ones((1, 1, 1)), np.arange(4.0).reshape(1, 4, 1))
    assert carry.spread(TOKENS, Sides({1: rows}, {})).reason is Reason.SHIFT_CANNOT_PASS
    assert isinstance(carry.settle(TOKENS, Sides({1: rows}, {})), Refusal)


@given(data=st.data(), rank=st.integers(2, 4))
def test_a_shift_passes_a_mask_of_minus_infinity_both_ways(data, rank):
    """Where x is repeated, what it is shifted by does not vary."""
    shape = tuple(data.draw(LENGTHS) for _ in range(rank))
    repeated = [axis for axis in range(rank) if data.draw(st.booleans())]
    own = tuple(1 if axis in repeated else length for axis, length in enumerate(shape))
    own = own[next((axis for axis in range(rank) if own[axis] > 1), rank - 1) :] if data.draw(st.booleans()) else own
    x = values.numbers(own, data.draw(values.SEEDS))
    node = Masking(Operand((1,) * (rank - len(own)) + own, len(own)), rank)
    behind = data.draw(values.maps(shape, [axis for axis in range(rank) if axis not in repeated])).shift_alone()
    mask = np.where(values.numbers(shape, data.draw(values.SEEDS)) > 0, -np.inf, 0.0)
    pulled = pull(node, {0: behind})
    if isinstance(pulled, Refusal):
        assert pulled.reason is Reason.WRONG_AXIS
        return
    before = pulled.requirements[0]
    np.testing.assert_array_equal((x + before.shift) + mask == -np.inf, mask == -np.inf)
    finite = np.broadcast_to(mask, shape) == 0
    left, right = (x + before.shift) + mask, (x + mask) + behind.shift
    np.testing.assert_allclose(left[finite], right[finite], rtol=1e-12)
    assert push(node, {0: before}).requirements[0].equals(behind)


def test_what_does_not_pass_a_mask_of_minus_infinity():
    node = Masking(Operand((1, 3, 5), 3), 3)
    scale = Affine(np.full((1, 1, 1), 2.0), np.zeros((1, 1, 1)))
    batch = Affine(np.ones((1, 1, 1)), np.array([1.0, 2.0]).reshape(2, 1, 1))
    for move in (push, pull):
        assert_refused(
            move(node, {0: scale}),
            Reason.NOT_LINEAR,
            "minus infinity is in the place of some numbers, and takes no scale",
        )
    assert pull(node, {0: batch}).reason is Reason.WRONG_AXIS
    assert pull(Masking(Operand((None, 3, 5), 3), 3), {0: batch}).reason is Reason.UNKNOWN_SHAPE
    assert carry.settle(node, Sides({0: batch}, {0: batch})) is None


NODE = Attention(3, 1, 2)


@pytest.mark.parametrize("node", [NODE, Attention(3, 1, 2, heads=(0,))], ids=["alike", "heads"])
@pytest.mark.parametrize("seed", range(20))
def test_attention_in_one_node(seed, node):
    """Moderate numbers: a softmax of large ones picks one key, and shows nothing."""
    random = np.random.default_rng(seed)
    inputs = {0: random.normal(size=(2, 3, 4)), 1: random.normal(size=(2, 5, 4)), 2: random.normal(size=(2, 5, 6))}
    keys = Affine(np.ones((1, 1, 1)), random.normal(size=(2, 1, 4)))
    shape = (2 if node.heads else 1, 1, 6)
    features = Affine(random.normal(size=shape), random.normal(size=shape))
    moved = push(node, {1: keys, 2: features})
    shifted = {**inputs, 1: inputs[1] + keys.shift, 2: features.scale * inputs[2] + features.shift}
    (left,) = evaluate(node, shifted)
    (plain,) = evaluate(node, inputs)
    (behind,) = moved.requirements.values()
    np.testing.assert_allclose(left, behind.scale * plain + behind.shift, rtol=1e-11, atol=1e-12)
    assert pull(node, {0: features}).requirements == {2: features}


def test_what_attention_in_one_node_does_not_let_pass():
    features = Affine(np.ones((1, 1, 1)), np.arange(4.0).reshape(1, 1, 4))
    tokens = Affine(np.ones((1, 1, 1)), np.arange(5.0).reshape(1, 5, 1))
    scale = Affine(np.full((1, 1, 1), 2.0), np.zeros((1, 1, 1)))
    assert push(NODE, {0: features}).reason is Reason.NOT_LINEAR
    assert push(NODE, {1: scale}).reason is Reason.NOT_LINEAR
    assert push(NODE, {3: features}).reason is Reason.NOT_LINEAR
    assert push(NODE, {1: tokens}).reason is Reason.WRONG_AXIS
    assert push(NODE, {2: tokens}).reason is Reason.WRONG_AXIS
    assert pull(NODE, {0: tokens}).reason is Reason.WRONG_AXIS
    assert push(Attention(3, None, None), {1: features}).reason is Reason.NOT_LINEAR
    assert push(Attention(3, None, None), {2: features}).reason is Reason.NOT_LINEAR
    per_head = Affine(np.ones((1, 1, 1, 1)), np.arange(8.0).reshape(1, 2, 1, 4))
    assert push(Attention(4, 1, 2), {2: per_head}).reason is Reason.WRONG_AXIS
    assert push(Attention(4, 1, 2, heads=(1,)), {2: per_head}).requirements == {0: per_head}
    assert pull(Attention(4, 1, 2, heads=(1,)), {0: per_head}).requirements == {2: per_head}
    biased = Attention(3, 1, 2, adds_bias=True)
    expected = "the node adds a bias to the values, which no scale of theirs reaches"
    assert_refused(push(biased, {2: scale}), Reason.NOT_LINEAR, expected)
    assert_refused(pull(biased, {0: scale}), Reason.NOT_LINEAR, expected)
    assert push(biased, {2: features}).requirements == {0: features}
    assert pull(biased, {0: features}).requirements == {2: features}
    assert pull(Attention(3, 1, None), {0: features}).reason is Reason.SHIFT_CANNOT_PASS
