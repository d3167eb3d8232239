import numpy as np
import pytest

from bnfold.affine import Affine
from bnfold.scales import ScaleSummary, summarise


def of(*scales, shift=0.0):
    values = np.array(scales).reshape(1, -1, 1)
    return summarise(Affine(values, np.full_like(values, shift)))


def test_signs_and_zeros_are_counted():
    found = of(2.0, -3.0, 0.0, 1.0, -0.0, shift=-7.0)

    assert (found.channels, found.negative, found.zero) == (5, 1, 2)
    assert (found.smallest, found.median, found.largest, found.largest_shift) == (1.0, 2.0, 3.0, 7.0)


def test_far_from_the_median_is_tiny_or_huge():
    found = of(1.0, 1.0, -1.0, 0.0099, 0.0101, 101.0, -99.0)

    assert (found.tiny, found.huge) == (1, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 101])
def test_quartiles_are_values_that_are_there_in_their_order(count):
    values = np.random.default_rng(count).normal(size=count)
    found = of(*values)

    line = [found.smallest, found.lower_quartile, found.median, found.upper_quartile, found.largest]
    assert line == sorted(line)
    assert set(line) <= set(np.abs(values))
    assert np.mean(np.abs(values) <= found.median) >= 0.5


def test_a_map_of_zeros_has_sizes_of_zero():
    assert of(0.0, 0.0) == ScaleSummary(2, 0, 2, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
