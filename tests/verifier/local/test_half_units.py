"""Half units of the last place, against numpy's spacing, and moves by them."""

import ml_dtypes
import numpy as np
import pytest

from bnfold.verifier.local.half_units import half_unit, moved, moved_quickly

TYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


def numbers(dtype) -> np.ndarray:
    """Of every size that the type has, subnormal ones, zero and powers of two among them."""
    kind = ml_dtypes.finfo(dtype)
    rng = np.random.default_rng(0)
    exponents = rng.integers(int(np.log2(float(kind.smallest_subnormal))), kind.maxexp - 1, 500)
    values = rng.uniform(1, 2, 500) * np.exp2(exponents) * rng.choice((-1, 1), 500)
    return np.concatenate([values, np.exp2(exponents), [0.0]]).astype(dtype).reshape(7, 143)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_half_a_unit_is_half_the_distance_to_the_next_larger_number(dtype):
    values = numbers(dtype)
    magnitude = np.abs(values)
    above = np.nextafter(magnitude, np.asarray(np.inf, dtype))
    expected = (above.astype(np.float64) - magnitude.astype(np.float64)) / 2
    np.testing.assert_array_equal(half_unit(values), expected)


def test_infinity_stays_what_it_is():
    values = np.asarray([np.inf, -np.inf, np.nan, 1], np.float32)
    for made in (moved(values, 0, 0), moved_quickly(values, 0, 0)):
        np.testing.assert_array_equal(made[:3], values[:3])
        assert 2.0**-26 < abs(made[3] - 1) <= 2.0**-24


@pytest.mark.parametrize("units", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(), (40,), (20, 30), (6, 5, 3, 3)])
@pytest.mark.parametrize("dtype", TYPES[:3], ids=lambda dtype: np.dtype(dtype).name)
def test_every_number_moves_by_so_many_half_units_about_half_of_them_up(dtype, shape, units):
    values = np.asarray(np.random.default_rng(1).normal(size=shape), dtype)
    wide = values.astype(np.float64)
    for made, least in ((moved(values, 3, 1, units), 1.0), (moved_quickly(values, 3, 1, units), 0.5)):
        apart = np.abs(made - wide) / half_unit(values)
        assert np.all((apart >= (1 - 1e-6) * least * units) & (apart <= (1 + 1e-6) * units))
        if values.size > 30:
            assert 0.2 < np.mean(made > wide) < 0.8
