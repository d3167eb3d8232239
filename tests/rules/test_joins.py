"""Sums and products of branches: a scale goes to all branches of a sum and to one factor, a shift to one branch."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, Widening, identity, per_channel
from bnfold.refusal import Reason
from bnfold.rules import Moved, pull, push
from bnfold.semantics import Operand, Product, Sum
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_law, assert_refused

NO_SHIFT = "a product of two activations keeps no shift"


def aligned(shape, rank):
    return (1,) * (rank - len(shape)) + tuple(shape)


@st.composite
def joins(draw, kind):
    """Tensors that broadcast against one another: lengths of 1 and missing axes in front."""
    shape = draw(values.SHAPES)
    whole = draw(st.integers(0, 2))
    operands, inputs = [], {}
    for index in range(draw(st.integers(max(whole + 1, 2), 3))):
        own = shape
        if index != whole:
            start = draw(st.integers(0, len(shape)))
            own = tuple(draw(st.sampled_from([1, length])) for length in shape[start:])
        sign = draw(st.sampled_from([1.0, -1.0, 0.5])) if kind is Sum else 1.0
        operands.append(Operand(aligned(own, len(shape)), len(own), sign))
        inputs[index] = values.numbers(own, draw(values.SEEDS))
    return values.Case(kind(tuple(operands), len(shape)), inputs)


def shared_axes(case, indices):
    """The axes of the result on which none of these operands is repeated."""
    shape = np.broadcast_shapes(*(x.shape for x in case.inputs.values()))
    shapes = [case.node.operands[index].aligned_shape for index in indices]
    return shape, [axis for axis, length in enumerate(shape) if all(own[axis] == length for own in shapes)]


def hidden(case, data):
    """The same node with some lengths unknown."""
    operands = tuple(
        replace(
            operand,
            aligned_shape=tuple(
                None if axis >= case.node.rank - operand.rank and data.draw(st.booleans()) else length
                for axis, length in enumerate(operand.aligned_shape)
            ),
        )
        for operand in case.node.operands
    )
    return values.Case(replace(case.node, operands=operands), case.inputs)


@given(data=st.data(), signs=st.lists(st.sampled_from([1.0, -1.0, 0.5]), min_size=2, max_size=4).filter(sum))
def test_every_use_of_one_tensor_takes_an_equal_part(data, signs):
    x = values.numbers(data.draw(values.SHAPES), data.draw(values.SEEDS))
    operands = tuple(Operand(x.shape, x.ndim, sign) for sign in signs)
    case = values.Case(Sum(operands, x.ndim, of_one_tensor=True), dict.fromkeys(range(len(signs)), x))
    affine = data.draw(values.maps(x.shape))
    moved = assert_pull_one(case, affine)
    first, *rest = moved.requirements.values() if not affine.is_identity else [identity(x.ndim)]
    assert all(first.equals(other) for other in rest)


@given(data=st.data(), case=joins(Sum))
def test_pull_through_sum(data, case):
    """The scale varies where no branch is repeated, the shift where one branch at least is not."""
    shape, of_all = shared_axes(case, case.inputs)
    _, of_one = shared_axes(case, [data.draw(st.sampled_from(sorted(case.inputs)))])
    scale, shift = data.draw(values.parameters(shape, 1.0, of_all)), data.draw(values.parameters(shape, 0.0, of_one))
    affine = Affine(scale, shift)
    moved = assert_pull_one(case, affine)
    assert moved.meaning is None
    for requirements in moved.choices:
        assert requirements.keys() == case.inputs.keys() or not affine.has_scale
        assert sum(requirement.has_shift for requirement in requirements.values()) == affine.has_shift


@given(case=joins(Sum))
def test_every_branch_that_can_take_the_shift_is_offered(case):
    """A shift that differs from place to place goes to the branches of full shape."""
    shape, _ = shared_axes(case, ())
    affine = Affine(np.ones((1,) * len(shape)), 1.0 + np.arange(math.prod(shape)).reshape(shape))
    able = [index for index in case.inputs if len(shared_axes(case, [index])[1]) == len(shape)]
    assert [list(choice) for choice in assert_pull_one(case, affine).choices] == [[index] for index in able]


@given(data=st.data(), case=joins(Sum))
def test_a_uniform_map_passes_a_sum_whose_lengths_are_unknown(data, case):
    shape, _ = shared_axes(case, ())
    assert_pull_one(hidden(case, data), data.draw(values.maps(shape, ())))


@given(data=st.data(), case=joins(Sum))
def test_push_shifts_through_sum(data, case):
    chosen = data.draw(st.sets(st.sampled_from(sorted(case.inputs)), min_size=1))
    inputs = {}
    for index in sorted(chosen):
        shift = data.draw(values.parameters(case.inputs[index].shape, 0.0))
        inputs[index] = Affine(np.ones((1,) * shift.ndim), shift)
    moved = assert_push_law(hidden(case, data), inputs)
    assert moved.meaning is None
    assert moved.requirements.keys() == {0}
    assert not moved.requirements[0].has_scale


@given(data=st.data(), case=joins(Sum))
def test_push_one_scale_through_sum(data, case):
    """All branches have the same scale, along axes that all of them have; each has its own shift."""
    shape, of_all = shared_axes(case, case.inputs)
    scale = data.draw(values.parameters(shape, 1.0, of_all))
    inputs = {}
    for index, x in case.inputs.items():
        own = scale[tuple(slice(None, length) for length in aligned(x.shape, len(shape)))]
        own = own.reshape(own.shape[len(shape) - x.ndim :])
        inputs[index] = Affine(own, data.draw(values.parameters(x.shape, 0.0)))
    assert_push_law(case, inputs)


def branches(kind, *shapes):
    rank = max(map(len, shapes))
    return kind(tuple(Operand(aligned(shape, rank), len(shape)) for shape in shapes), rank)


@pytest.mark.parametrize(
    ("others", "by"),
    [({}, 2), ({1: per_channel([2.0, 4.0], 0.0, rank=2)}, 1), ({1: per_channel(2.0, 0.0, rank=2)}, 1)],
)
def test_push_refuses_unequal_scales(others, by):
    inputs = {0: per_channel([2.0, 3.0], 0.0, rank=2), **others}
    expected = f"branch 1 of the sum does not have the scale of branch 0: they differ by {by}"
    assert_refused(push(branches(Sum, (5, 2), (5, 2)), inputs), Reason.OTHER_BRANCH, expected)


def test_push_takes_equal_scales_however_they_are_stored():
    inputs = {0: Affine(np.full((5, 2), 3.0), np.zeros((1, 1))), 1: Affine(np.full(1, 3.0), np.zeros(1))}
    moved = push(branches(Sum, (5, 2), (2,)), inputs)
    assert np.all(moved.requirements[0].scale == 3.0)


@pytest.mark.parametrize("node", [branches(Sum, (4, 5), (5,)), branches(Sum, (4, 5), (1, 5))])
def test_pull_refuses_a_scale_along_which_a_branch_is_repeated(node):
    rows = per_channel(np.arange(4.0), 0.0, rank=2, axis=0)
    expected = "the map varies along axis 0, on which a branch is repeated"
    assert_refused(pull(node, {0: rows}), Reason.WRONG_AXIS, expected)


def test_a_shift_goes_to_the_branch_that_has_the_axis():
    rows = per_channel(1.0, np.arange(4.0), rank=2, axis=0)
    choices = pull(branches(Sum, (5,), (4, 5)), {0: rows}).choices
    assert [set(choice) for choice in choices] == [{1}]
    expected = "the map varies along axis 0, on which a branch is repeated"
    both = per_channel(1.0, np.arange(4.0), rank=2, axis=0)
    outer = branches(Sum, (1, 5), (5,))
    assert_refused(pull(outer, {0: both}), Reason.WRONG_AXIS, expected)


@pytest.mark.parametrize("kind", [Sum, Product])
def test_pull_refuses_unknown_lengths(kind):
    node = kind((Operand((None, None), 2), Operand((None, None), 2)), 2)
    expected = "the length of a branch on axis 1 is not known before run time"
    affine = per_channel(np.arange(4.0), 0.0, rank=2)
    assert_refused(pull(node, {0: affine}), Reason.UNKNOWN_SHAPE, expected)


def test_the_identity_demands_nothing_of_a_sum():
    assert pull(branches(Sum, (4, 5), (5,)), {0: identity(2)}).choices == ({},)


@given(data=st.data(), case=joins(Product))
def test_pull_through_product(data, case):
    """The scale varies where one factor at least is not repeated."""
    shape, of_one = shared_axes(case, [data.draw(st.sampled_from(sorted(case.inputs)))])
    affine = Affine(data.draw(values.parameters(shape, 1.0, of_one)), np.zeros((1,) * len(shape)))
    moved = assert_pull_one(case, affine)
    assert moved.meaning is None
    assert all(len(requirements) == 1 for requirements in moved.choices)


@given(data=st.data(), case=joins(Product), has_bias=st.booleans())
def test_a_product_that_takes_a_bias_keeps_the_shift(data, case, has_bias):
    shape, of_one = shared_axes(case, [data.draw(st.sampled_from(sorted(case.inputs)))])
    bias = data.draw(values.parameters(shape, 0.0)) if has_bias else None
    node = replace(case.node, takes_bias=True, bias=bias)
    affine = Affine(data.draw(values.parameters(shape, 1.0, of_one)), data.draw(values.parameters(shape, 0.0)))
    moved = assert_pull_one(values.Case(node, case.inputs), affine)
    assert not any(affine.has_shift for choice in moved.choices for affine in choice.values())


@given(data=st.data(), case=joins(Product))
def test_scales_in_front_of_a_product_do_not_act_on_its_bias(data, case):
    shape, _ = shared_axes(case, ())
    node = replace(case.node, bias=data.draw(values.parameters(shape, 0.0)))
    scale = Affine(data.draw(values.parameters(case.inputs[0].shape, 1.0)), np.zeros((1,) * case.inputs[0].ndim))
    assert_push_law(values.Case(node, case.inputs), {0: scale})


@given(data=st.data(), case=joins(Product))
def test_every_factor_can_take_a_scale_of_its_own_axes(data, case):
    shape, of_all = shared_axes(case, case.inputs)
    affine = Affine(data.draw(values.parameters(shape, 1.0, of_all)), np.zeros((1,) * len(shape)))
    assert [list(choice) for choice in assert_pull_one(case, affine).choices] == [[index] for index in case.inputs]


@given(data=st.data(), case=joins(Product))
def test_push_through_product(data, case):
    chosen = data.draw(st.sets(st.sampled_from(sorted(case.inputs)), min_size=1))
    inputs = {
        index: Affine(data.draw(values.parameters(x.shape, 1.0)), np.zeros((1,) * x.ndim))
        for index, x in case.inputs.items()
        if index in chosen
    }
    moved = assert_push_law(hidden(case, data), inputs)
    assert moved.meaning is None
    assert moved.requirements.keys() == {0}


@pytest.mark.parametrize("index", [0, 1])
def test_a_product_refuses_a_shift(index):
    node = branches(Product, (4, 5), (4, 5))
    shift = per_channel(1.0, [0.0, 0.0, 0.0, 0.0, 1e-25], rank=2)
    assert_refused(pull(node, {0: shift}), Reason.SHIFT_CANNOT_PASS, NO_SHIFT)
    assert_refused(push(node, {index: shift}), Reason.SHIFT_CANNOT_PASS, NO_SHIFT)


def test_a_scale_that_no_factor_has_would_make_one_grow():
    """Whether it can is said by the node that makes it."""
    node = branches(Product, (4, 1), (1, 5))
    places = Affine(np.arange(20.0).reshape(4, 5), np.zeros((1, 1)))
    moved = pull(node, {0: places})
    assert isinstance(moved, Moved)
    assert [list(choice) for choice in moved.choices] == [[0], [1]]
    for choice in moved.choices:
        (wide,) = choice.values()
        assert isinstance(wide, Widening)
        assert wide.equals(places)


@pytest.mark.parametrize("shifts", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 1)])
def test_a_factor_that_others_read_too_is_made_anew_with_another_constant(shape, shifts):
    """Of a number z, a constant c and numbers a: s * (a * (c z)) + t == a * ((s c) z) + t."""
    random = np.random.default_rng(0)
    x, z, constant = random.normal(size=(2, 4, 3)), 0.5, random.normal(size=shape)
    node = Product((Operand(x.shape, 3), Operand((1, 1, 1), 0)), 3, takes_bias=True, constants={1: constant})
    affine = per_channel([2.0, -3.0, 0.0, 1.0], random.normal(size=4) if shifts else 0.0, rank=3)
    moved = pull(node, {0: affine})
    assert moved.requirements == {}
    bias = moved.meaning.bias if shifts else 0.0
    left = affine.scale * (x * (constant * z)) + affine.shift
    np.testing.assert_allclose(x * (moved.meaning.constants[1] * z) + bias, left, rtol=1e-12, atol=1e-12)


def test_a_constant_of_a_factor_does_not_grow_beyond_it_and_the_scale():
    node = Product((Operand((2, 4, 3), 3), Operand((1, 1, 1), 0)), 3, constants={1: np.arange(3.0).reshape(1, 1, 3)})
    scale = Affine(np.arange(4.0).reshape(1, 4, 1), np.zeros((1, 1, 1)))
    assert_refused(pull(node, {0: scale}), Reason.PARAMETER_GROWS, "a constant of 3 numbers would become one of 12")
