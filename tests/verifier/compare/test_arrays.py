"""One output against another, on values made by hand."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.verifier.compare.arrays import Difference, differences

SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def difference(a, b) -> Difference:
    (found,) = differences(a, b)
    return found


@given(SHAPES, SHAPES)
def test_shapes_are_equal_or_a_problem(left, right):
    problem = difference(np.ones(left, np.float32), np.ones(right, np.float32)).problem
    assert problem == ("" if left == right else f"shape {right} against {left}")


@pytest.mark.parametrize("other", [np.float64, np.float16, np.int64, np.bool_, ml_dtypes.bfloat16, object])
def test_dtypes_are_equal_or_a_problem(other):
    found = difference(np.ones(3, np.float32), np.ones(3, other))
    assert found.problem == f"dtype {np.dtype(other)} against float32"
    assert math.isnan(found.max_abs)
    assert math.isnan(found.max_rel)


def test_what_cannot_be_compared_is_a_problem_even_beside_itself():
    assert difference(np.ones(3, complex), np.ones(3, complex)).problem == "dtype complex128 cannot be compared"
    assert difference({1}, {1}).problem == "set cannot be compared"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_floats_are_measured_against_the_largest(dtype):
    found = difference(np.array([1, -4, 0], dtype), np.array([1, -4, 0.5], dtype))
    assert (found.max_abs, found.magnitude, found.max_rel, found.error) == (0.5, 4, 0.125, 0.125)
    assert found.problem == ""


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        ([1, 2], [1, np.nan], "NaN in 1 place where the original has none"),
        ([np.nan, np.nan], [1, 2], "no NaN in 2 places where the original has it"),
        ([1, 2], [np.inf, -np.inf], "infinity in 2 places where the original has other values"),
        ([np.inf, 2], [1, 2], "finite numbers in 1 place where the original overflows"),
        ([np.inf, 2], [-np.inf, 2], "infinity in 1 place where the original has other values"),
        ([np.inf, 2], [np.nan, 2], "NaN in 1 place where the original has none"),
        ([np.nan, 2], [np.inf, 2], "no NaN in 1 place where the original has it"),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], ""),
        (
            [np.nan, np.inf, 0],
            [0, np.nan, np.inf],
            (
                "NaN in 1 place where the original has none, no NaN in 1 place where the original has it, "
                "infinity in 1 place where the original has other values"
            ),
        ),
    ],
)
def test_nan_and_infinity_stand_in_the_same_places(a, b, problem):
    assert difference(np.array(a, np.float32), np.array(b, np.float32)).problem == problem


def test_finite_values_are_measured_beside_others_that_are_not():
    found = difference(np.float32([np.nan, np.inf, 2]), np.float32([np.nan, np.inf, 3]))
    assert (found.max_abs, found.magnitude) == (1, 2)


def test_extremes_do_not_overflow_or_vanish():
    assert difference(np.array([1e308]), np.array([-1e308])).error == math.inf
    assert difference(np.zeros(2), np.full(2, 1e-300)).error == math.inf
    assert difference(np.zeros(2), np.zeros(2)).error == 0
    assert difference(np.uint64([2**63]), np.uint64([2**63 + 1])).max_abs == 1
    assert difference(np.int8([-128]), np.int8([127])).max_abs == 255


def test_integers_booleans_and_strings_count_unequal_values():
    assert difference(np.arange(10), np.arange(10)).error == 0
    assert difference(np.array([True, False]), np.array([True, True])).error == 0.5
    found = difference(np.array(["a", "b", "c", "d"], object), np.array(["a", "b", "c", "e"], object))
    assert (found.error, found.values) == (0.25, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, object])
def test_empty_and_scalar_arrays_are_compared(dtype):
    empty = np.zeros((0, 3), dtype)
    assert difference(empty, empty).error == 0
    assert difference(np.zeros((), dtype), np.zeros((), dtype)).error == 0
    assert difference(np.zeros((), dtype), np.ones((), dtype)).error > 0


def test_containers_are_compared_element_by_element():
    one, two = np.ones(2), np.full(2, 2.0)
    assert [found.error for found in differences([one, two], [one, one])] == [0, 0.5]
    assert [found.error for found in differences({"a": 4.0, "b": 1}, {"a": 5.0, "b": 1})] == [0.25, 0]
    assert differences([], []) == []
    assert differences(None, None) == []
    assert difference([one], [one, one]).problem == "a sequence of 2 against 1"
    assert difference({"a": 1.0}, {"b": 1.0}).problem == "a map with other keys"
    assert difference([one], one).problem == "ndarray against list"
    assert difference(None, one).problem == "ndarray against NoneType"
    assert difference([one], [np.ones(3)]).problem == "shape (3,) against (2,)"


def test_the_numbers_of_a_map_are_float32():
    # onnxruntime hands the float32 values of a ZipMap over as Python floats.
    assert difference({"a": 1.0}, {"a": 1.0}).dtype == np.float32
