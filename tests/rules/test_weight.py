"""A weight that is not multiplied out says the same as one that is."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold import weight as subject
from bnfold.weight import Weight
from tests.rules import values

SHAPES = st.tuples(*(st.integers(1, 4),) * 3, st.integers(1, 3))
TYPES = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]


def numbers(shape, seed):
    """Zeros and numbers of both signs, which fit into every type."""
    random = np.random.default_rng(seed)
    return random.normal(size=shape) * 10.0 ** random.integers(-3, 3, size=shape) * (random.random(shape) < 0.8)


def multiplied(stored, factors):
    exact = stored.astype(np.float64)
    for factor in factors:
        exact = exact * factor
    return exact


@st.composite
def stored_and_factors(draw):
    shape = draw(SHAPES)
    stored = numbers(shape, draw(values.SEEDS)).astype(draw(st.sampled_from(TYPES)))
    if draw(st.booleans()):
        stored = stored.swapaxes(1, 2)
    lengths = [
        [1 if flat else length for flat, length in zip(flags, stored.shape, strict=True)]
        for flags in draw(st.lists(st.tuples(*(st.booleans(),) * 4), max_size=3))
    ]
    return stored, [numbers(tuple(length), draw(values.SEEDS)) for length in lengths]


def made(stored, factors):
    weight = Weight(stored)
    for factor in factors:
        weight = weight.times(factor)
    return weight


@given(given_=stored_and_factors(), cache=st.sampled_from([1, 5, 2**15]))
def test_pieces_are_the_rows_of_the_whole(given_, cache):
    stored, factors = given_
    exact = multiplied(stored, factors)
    weight = made(stored, factors)
    rows = np.full((weight.channels, *stored.shape[2:]), np.nan)
    before, subject._NUMBERS_IN_CACHE = subject._NUMBERS_IN_CACHE, cache
    try:
        for some, piece in weight.pieces():
            rows[some] = piece
    finally:
        subject._NUMBERS_IN_CACHE = before
    assert np.array_equal(rows.reshape(stored.shape), exact)
    assert np.array_equal(weight.array, exact)


@given(given_=stored_and_factors(), known_before=st.booleans())
def test_what_is_known_of_rows_and_inputs(given_, known_before):
    stored, factors = given_
    exact = multiplied(stored, factors)
    weight = Weight(stored)
    for factor in factors:
        if known_before:
            assert weight.rows.largest.shape == (weight.channels,)
        weight = weight.times(factor)
    rows = exact.reshape(weight.channels, -1)
    assert np.array_equal(weight.rows.highest, rows.max(axis=1, initial=0.0))
    assert np.array_equal(weight.rows.lowest, rows.min(axis=1, initial=0.0))
    assert np.array_equal(weight.rows.largest, np.abs(rows).max(axis=1))
    np.testing.assert_allclose(weight.squares_of_rows, np.square(rows).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(weight.squares_of_inputs, np.square(exact).sum(axis=(1, 3)), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("inside", [True, False])
def test_what_is_not_finite_stays_so(bad, inside):
    stored = np.ones((1, 3, 2, 1), np.float32)
    stored[0, 2] = 0
    factor = np.ones((1, 3, 1, 1))
    if inside:
        stored[0, 1, 0] = bad
    else:
        factor[0, 1:] = bad
    with np.errstate(invalid="ignore"):
        found = Weight(stored).times(factor).rows.largest
    assert np.isfinite(found).tolist() == [True, False, inside]


def test_nothing_is_copied_that_need_not_be():
    stored = np.ones((1, 2, 3))
    assert Weight(stored).array is stored


def test_no_channels_and_no_inputs():
    for shape in ((1, 0, 3), (1, 3, 0), (0, 2, 2, 1)):
        weight = Weight(np.ones(shape, np.float32)).times(np.ones((1,) * len(shape)))
        assert weight.rows.largest.shape == (weight.channels,)
        assert weight.squares_of_inputs.shape == (shape[0], shape[2])


@given(given_=stored_and_factors(), seed=values.SEEDS)
def test_what_inputs_become_is_remembered_for_these_inputs_alone(given_, seed):
    stored, factors = given_
    exact = multiplied(stored, factors)
    weight = made(stored, factors)
    groups, _, inputs, *kernel = stored.shape
    for step in (0, 1, 0):
        constant = numbers((groups, 1, inputs, *(1,) * len(kernel)), seed + step)
        terms = (exact * constant).reshape(weight.channels, -1)
        unlike = np.abs(weight.applied_to(constant) - terms.sum(axis=1))
        assert (unlike <= 1e-13 * np.abs(terms).sum(axis=1)).all()  # the order of summation is free
