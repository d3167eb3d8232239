"""What two subgraphs may differ by: rounding passes, whatever it adds up to, and more does not."""

import ml_dtypes
import numpy as np
import pytest

from bnfold.verifier.local.half_units import half_unit, moved
from bnfold.verifier.local.law import Comparator

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32]


def linear(given, stored):
    """x W' + b for every row of x."""
    return given[0] @ stored[0].T + stored[1]


def comparator(exact, dtype, run=linear, error=0.0):
    """A subgraph with exact parameters, and one with the same parameters rounded, beside an error in the first one."""
    spoilt = [exact[0].copy(), *exact[1:]]
    spoilt[0].flat[0] += error
    return Comparator(run, run, (exact, [values.astype(dtype) for values in spoilt]), [True] * len(exact))


def layer(seed, outputs=12, inputs=40):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((outputs, inputs)), rng.standard_normal(outputs)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_a_unit_is_what_rounding_may_do(dtype):
    values = np.array([1.0, 1.5, -3.0, 1e-3, 0.0, 7e-8]).astype(dtype)
    above = np.nextafter(np.abs(values), np.array(np.inf, dtype))
    np.testing.assert_array_equal(half_unit(values), (above.astype(float) - np.abs(values).astype(float)) / 2)


def test_numbers_of_the_same_digits_move_together():
    values = np.array([3.0, 1.5, -3.0, 3.0], np.float32)
    for draw in range(4):
        steps = moved(values, draw, 0) - values
        assert steps[0] == steps[3] == 2 * steps[1] == -steps[2]
    assert len({tuple(np.sign(moved(np.float32([3, 5, 7, 9]), draw, 0) - [3, 5, 7, 9])) for draw in range(20)}) > 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_passes_on_every_seed(dtype):
    for seed in range(100):
        x = np.random.default_rng(seed + 1000).standard_normal((24, 40))
        assert comparator(layer(seed), dtype).compare([x]).excess <= 1


def test_rounding_passes_where_all_places_hang_on_one_direction():
    """One number in each channel: twice the largest of a few moves is exceeded often, the limit is not."""

    def deep(given, stored):
        hidden = np.tanh(linear([np.ones((1, 40))], stored))
        return (hidden.sum(1) * np.ones((30, 12, 1)) * given[0]).reshape(30, 12)

    for seed in range(200):
        x = np.random.default_rng(seed + 1000).standard_normal((30, 12, 1))
        assert comparator(layer(seed), np.float32, deep).compare([x]).excess <= 1


def test_rounding_passes_where_all_weights_are_equal():
    """A sum of equal weights is off by as many equal errors."""
    for seed in range(50):
        value = np.random.default_rng(seed).uniform(1, 2)
        exact = [np.full((4, 900), value), np.zeros(4)]
        assert comparator(exact, np.float32).compare([np.ones((3, 900))]).excess <= 1


def test_a_weight_that_is_off_by_more_fails():
    """In float32 by 1e-5 of itself, which no output of a whole network shows."""
    for seed in range(100):
        x = np.random.default_rng(seed + 1000).standard_normal((24, 40))
        finding = comparator(layer(seed), np.float32, error=1e-5).compare([x])
        assert finding.excess > 1
        assert finding.channel == 0


def test_single_numbers_are_held_to_their_own_half_unit():
    exact = layer(0)
    impulses = 2.0**20 * np.eye(40)
    assert comparator(exact, np.float16).compare_singles([impulses]).excess <= 1
    unit = 2 * float(half_unit(exact[0].astype(np.float16)).flat[0])
    finding = comparator(exact, np.float16, error=1.1 * unit).compare_singles([impulses])
    assert finding.excess > 1
    assert finding.channel == 0


def test_groups_are_judged_by_themselves():
    """An error among small values does not hide behind large ones."""

    def small_are_wrong(given, stored):
        return np.where(np.abs(given[0][:, :12]) < 1e3, 1 + 1e-5, 1.0) * linear(given, stored)

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((8, 40)), 1e6 * rng.standard_normal((8, 40))])
    exact = layer(0)
    stored = [values.astype(np.float32) for values in exact]
    both = Comparator(linear, small_are_wrong, (stored, stored), [True, True])
    assert both.compare([x]).excess <= 1
    assert both.compare([x], groups=2).excess > 1


def test_what_is_unlike_is_infinitely_far():
    stored = [values.astype(np.float32) for values in layer(0)]
    x = np.ones((2, 40))
    for other in (
        lambda given, stored: linear(given, stored)[:1],
        lambda given, stored: linear(given, stored).astype(np.int64),
        lambda given, stored: linear(given, stored) * np.nan,
        lambda given, stored: [linear(given, stored)],
    ):
        assert Comparator(linear, other, (stored, stored), [False, False]).compare([x]).excess == np.inf
    assert Comparator(linear, linear, (stored, stored), [False, False]).compare([x]).excess == 0


def test_complex_numbers_are_rounded_in_both_parts():
    rng = np.random.default_rng(0)
    exact = [rng.standard_normal((3, 30)) + 1j * rng.standard_normal((3, 30)), np.zeros(3, complex)]
    x = rng.standard_normal((9, 30))
    assert comparator(exact, np.complex64).compare([x]).excess <= 1
    assert comparator(exact, np.complex64, error=1e-5j).compare([x]).excess > 1


def times(given, stored):
    return given[0] @ stored[0]


def summed(given, stored):
    return given[0] @ stored[0] + given[0] @ stored[1]


def off_by(values, units):
    """Every number larger by so many half units, in float64: what it was before it was rounded."""
    return values.astype(np.float64) + units * half_unit(values)


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("units", [1.0, 4.0])
def test_where_numbers_may_be_computed_in_their_own_type_more_is_allowed(units):
    weight = normal(200, 6, dtype=np.float32)
    pair = Comparator(times, times, ([off_by(weight, 3.0)], [weight]), [True], units=units)
    assert (pair.compare([normal(40, 200)]).excess <= 1) == (units > 3)


def test_narrow_numbers_were_rounded_once_all_the_same():
    weight = normal(200, 6, dtype=np.float16)
    pair = Comparator(times, times, ([off_by(weight, 8.0)], [weight]), [True], units=8.0)
    assert pair.compare([normal(40, 200)]).excess > 1


def test_what_was_not_changed_may_not_be_off():
    weight = normal(200, 6, dtype=np.float32)
    pair = Comparator(times, times, ([off_by(weight, 0.01)], [weight]), [False])
    assert pair.compare([normal(40, 200)]).excess > 1


def test_differences_that_say_nothing_are_none():
    weight = np.full((10, 2), 1e-42, np.float32)
    dead = Comparator(times, times, ([weight], [0 * weight]), [True], least=1e-38)
    assert dead.compare([normal(20, 10)]).excess <= 1


@pytest.mark.parametrize(("units", "passes"), [(1.0, True), (1.1, False)])
@pytest.mark.parametrize("subgraph", [times, summed], ids=lambda made: made.__name__)
def test_a_single_number_and_a_sum_of_two_are_held_to_their_half_units(units, passes, subgraph):
    stored = [(number + 1) * normal(30, 6, dtype=np.float16) for number in range(2 if subgraph is summed else 1)]
    original = [off_by(values, 1.0) for values in stored]
    original[0][17, 3] = off_by(stored[0], 1.0 + (units - 1.0) * len(stored) * 4)[17, 3]
    pair = Comparator(subgraph, subgraph, (original, stored), [True] * len(stored))
    assert (pair.compare_singles([2.0**20 * np.eye(30)]).excess <= 1) == passes


def test_zeros_that_the_original_makes_of_other_numbers_are_not_far_from_zeros():
    def roundabout(given, stored):
        return given[0] + stored[0] + stored[1] - stored[2]

    stored = [np.array(number) for number in (0.1, 0.2, 0.3)]
    x = np.random.default_rng(0).standard_normal((8, 3))
    both = Comparator(roundabout, lambda given, _: given[0], (stored, []), [])
    assert both.compare([np.concatenate([x, np.zeros_like(x)])], groups=2, quick=True).excess <= 1
    off = Comparator(roundabout, lambda given, _: given[0] * 1.1, (stored, []), [])
    assert off.compare([np.concatenate([x, np.zeros_like(x)])], groups=2, quick=True).excess > 1


def test_what_float64_loses_of_large_numbers_is_no_difference():
    def there_and_back(given, stored):
        return given[0] + stored[0] - stored[1]

    x = np.random.default_rng(0).standard_normal((8, 3))
    both = Comparator(there_and_back, lambda given, _: given[0], ([np.array(1e9)] * 2, []), [])
    assert both.compare([x]).excess <= 1
    assert both.compare_singles([x]).excess <= 1
    off = Comparator(there_and_back, lambda given, _: given[0] + 1e-3, ([np.array(1e9)] * 2, []), [])
    assert off.compare([x]).excess > 1


def test_a_sum_of_many_narrow_numbers_is_not_held_to_the_half_unit_of_one():
    def all_of(given, stored):
        return given[0] @ np.sum(stored, axis=0)

    stored = [normal(30, 6, dtype=np.float16) for _ in range(40)]
    original = [off_by(values, 0.999) for values in stored]
    pair = Comparator(all_of, all_of, (original, stored), [True] * len(stored))
    assert pair.compare_singles([2.0**20 * np.eye(30)]).excess <= 1


def test_a_small_number_that_was_rounded_when_it_was_larger_is_no_difference():
    """Two folds in a row: what the first one stored, the second one cancels."""
    stored = normal(30, 6, dtype=np.float32)
    stored[3, 2] = 1e-4
    for error, passes in ((half_unit(np.float32([1.0]))[0] / 2, True), (1e-6, False)):
        original = stored.astype(np.float64)
        original[3, 2] += error
        pair = Comparator(times, times, ([original], [stored]), [True], units=4.0)
        assert (pair.compare_singles([2.0**20 * np.eye(30)]).excess <= 1) == passes
