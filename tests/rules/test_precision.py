"""One rounding, to the nearest number of the stored type, ties to even; what does not fit is refused."""

import math
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.frontends.common.convolutions import stored_inputs_first, stored_outputs_first
from bnfold.frontends.common.precision import dead_channels, judge_rows, round_parameter
from bnfold.frontends.common.rounded_weight import RoundedWeight
from bnfold.refusal import Reason, Refusal
from bnfold.weight import Weight


def round_weight(weight, dtype, dead=None):
    """The weight in this type, or why it cannot hold it."""
    lost = judge_rows(weight, dtype, dead)
    return lost if isinstance(lost, Refusal) else RoundedWeight(weight, dtype, lost, lambda values: values).array()


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: bits of the significand and the exponent of the smallest normal number."""

    dtype: np.dtype
    bits: int
    lowest: int
    largest: float

    def nearest(self, number: float) -> float:
        """The number of this format nearest to a float64, by integer arithmetic alone."""
        if number == 0.0:
            return number
        exponent = max(math.frexp(number)[1] - 1, self.lowest) - (self.bits - 1)
        return math.ldexp(round(math.ldexp(number, -exponent)), exponent)


FORMATS = {
    "float16": Format(np.dtype(np.float16), 11, -14, 65504.0),
    "bfloat16": Format(np.dtype(ml_dtypes.bfloat16), 8, -126, (2 - 2.0**-7) * 2.0**127),
    "float32": Format(np.dtype(np.float32), 24, -126, (2 - 2.0**-23) * 2.0**127),
    "float64": Format(np.dtype(np.float64), 53, -1022, np.finfo(np.float64).max),
}
EVERY_FORMAT = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
NARROW_FORMATS = pytest.mark.parametrize(
    "form", [form for form in FORMATS.values() if form.bits < 53], ids=[n for n in FORMATS if n != "float64"]
)


@st.composite
def near_ties(draw, form):
    """Numbers at, just above and just below the middle between two neighbours: where a second rounding shows."""
    significand = draw(st.integers(2 ** (form.bits - 1), 2**form.bits - 2)) + 0.5
    offset = draw(st.sampled_from([0.0, 1.0, -1.0])) * 2.0 ** -draw(st.integers(2, 52 - form.bits))
    exponent = draw(st.integers(form.lowest - form.bits - 2, -form.lowest - form.bits))
    return draw(st.sampled_from([1, -1])) * math.ldexp(significand + offset, exponent)


@EVERY_FORMAT
@given(data=st.data())
def test_any_number_goes_to_the_nearest(form, data):
    number = data.draw(st.floats(-form.largest, form.largest))
    rounded = round_parameter(np.array([number]), form.dtype)
    assert rounded.dtype == form.dtype
    assert float(rounded[0]) == form.nearest(number)


@NARROW_FORMATS
@given(data=st.data())
def test_there_is_one_rounding_only(form, data):
    number = data.draw(near_ties(form))
    assert float(round_parameter(np.array([number]), form.dtype)[0]) == form.nearest(number)


@EVERY_FORMAT
def test_numbers_of_the_type_stay_as_they_are(form):
    exact = np.array([0.0, -0.0, 1.0, -1.5, form.largest, -form.largest, 2.0**form.lowest])
    rounded = round_parameter(exact, form.dtype).astype(np.float64)
    assert np.array_equal(rounded, exact)
    assert np.array_equal(np.signbit(rounded), np.signbit(exact))


@NARROW_FORMATS
def test_the_largest_number_and_the_first_that_overflows(form):
    spacing = form.largest - form.nearest(form.largest * (1 - 2.0**-form.bits))
    below, beyond = form.largest + 0.499 * spacing, form.largest + 0.5 * spacing
    assert float(round_parameter(np.array([-below]), form.dtype)[0]) == -form.largest
    refusal = round_parameter(np.array([1.0, -beyond]), form.dtype)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.OVERFLOW
    assert refusal.evidence == (
        f"the folded parameter reaches {beyond:.4g}, the largest {form.dtype} is {form.largest:.4g}"
    )


@EVERY_FORMAT
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(form, bad):
    values = np.full((1, 2, 3), bad)
    for refusal in (round_parameter(values, form.dtype), round_weight(Weight(values), form.dtype)):
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.OVERFLOW


@EVERY_FORMAT
@given(data=st.data())
def test_normal_weights_round_as_parameters_do(form, data):
    magnitude = st.floats(2.0**form.lowest, form.largest / 2)
    numbers = st.builds(lambda size, sign: size * sign, magnitude, st.sampled_from([1.0, -1.0]))
    weight = np.array(data.draw(st.lists(numbers, min_size=12, max_size=12))).reshape(2, 2, 3)
    rounded = round_weight(Weight(weight), form.dtype)
    assert rounded.dtype == form.dtype
    assert np.array_equal(rounded, round_parameter(weight, form.dtype))


@NARROW_FORMATS
def test_a_channel_that_underflows_is_refused(form):
    smallest = 2.0**form.lowest
    lost = smallest * 2.0 ** -(form.bits - 2) * 0.75  # a bit and a half are left of it
    weight = np.ones((2, 2, 3))
    weight[1, 0] = [lost, -lost / 2, 0.0]
    weight[1, 1] = lost / 2
    refusal = round_weight(Weight(weight), form.dtype)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNDERFLOW
    assert refusal.evidence == (
        f"far below {smallest:.3g}, the smallest normal {form.dtype}, in 2 of 4 channels: "
        f"max |weight| {lost:.3g} in channel 2"
    )


@NARROW_FORMATS
def test_a_weight_may_underflow_beside_larger_ones(form):
    """What counts is the channel: a weight of 0 changes nothing beside a weight of 1."""
    weight = np.array([1.0, 2.0 ** (form.lowest - form.bits - 3)]).reshape(1, 1, 2)
    assert np.array_equal(round_weight(Weight(weight), form.dtype).astype(np.float64), [[[1.0, 0.0]]])


@EVERY_FORMAT
def test_channels_of_zeros_are_legal(form):
    """Pruned channels, and BatchNorms with a scale of 0."""
    weight = np.zeros((1, 2, 3))
    assert np.array_equal(round_weight(Weight(weight), form.dtype), weight)


@EVERY_FORMAT
@pytest.mark.parametrize("shape", [(1, 0, 3), (1, 2, 0), (1, 2, 3, 0)])
def test_weights_without_elements_are_legal(form, shape):
    assert round_weight(Weight(np.zeros(shape)), form.dtype).shape == shape


@NARROW_FORMATS
def test_a_dead_channel_becomes_zero_and_the_others_keep_their_weights(form):
    smallest = 2.0**form.lowest
    weight = np.ones((2, 2, 3))
    weight[0, 1] = smallest * 2.0**-200
    weight[1, 0] = smallest * 2.0 ** -(form.bits - 2) * 0.75
    dead = dead_channels(weight, None, form.dtype)
    assert dead.tolist() == [False, True, False, False]
    refusal = round_weight(Weight(weight), form.dtype, dead)
    assert isinstance(refusal, Refusal)
    assert "in 1 of 4 channels: " in refusal.evidence
    weight[1, 0] = 1.0
    expected = weight.copy()
    expected[0, 1] = 0
    assert np.array_equal(round_weight(Weight(weight), form.dtype, dead).astype(np.float64), expected)


@EVERY_FORMAT
@given(data=st.data())
def test_nothing_that_comes_into_a_dead_channel_shows(form, data):
    limits = ml_dtypes.finfo(form.dtype)
    furthest = max(65504.0, float(limits.max) ** 0.5)
    exponent = data.draw(st.floats(-form.bits * 8.0, 0))
    bias = data.draw(st.sampled_from([0.0, 1.0, -3.5e-3, 1e4]))
    largest = max(abs(bias), float(limits.smallest_subnormal)) / furthest
    weight = data.draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
    weight = np.array(weight).reshape(1, 1, 4) * largest * 2.0**exponent
    worst = (weight * np.copysign(furthest, weight)).sum() + bias
    if dead_channels(weight, np.array([bias]), form.dtype).all():
        half_of_last_bit = abs(bias) * float(limits.eps) / 4
        assert abs(worst - bias) <= max(half_of_last_bit, float(limits.smallest_subnormal) / 2) * (1 + 1e-12)


def test_a_bias_hides_weights_that_are_no_smaller_than_its_last_bit():
    weight = np.full((1, 2, 1), 1e-40)
    assert dead_channels(weight, np.array([1.0, 0.0]), np.dtype(np.float32)).tolist() == [True, False]
    assert dead_channels(weight, np.array([1.0]), np.dtype(np.float32)).tolist() == [True, True]


LAYOUTS = {
    "as it is": lambda weight: weight,
    "outputs first": stored_outputs_first,
    "inputs first": stored_inputs_first,
    "a matrix": lambda weight: weight[0, :, :, 0].T,
}


@EVERY_FORMAT
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("shape", [(1, 300, 200, 1), (1, 3, 2, 1), (1, 0, 4, 1)])
def test_pieces_are_the_bytes_of_the_whole(form, layout, shape):
    """In the order of the file, a matrix by columns too, and with dead rows."""
    rng = np.random.default_rng(0)
    weight = Weight(rng.normal(size=shape), (rng.normal(size=(1, shape[1], 1, 1)),))
    dead = rng.uniform(size=shape[1]) < 0.1
    stored = RoundedWeight(weight, form.dtype, dead, layout)
    expected = weight.array.copy()
    expected[:, dead] = 0
    expected = layout(round_parameter(expected, form.dtype))
    assert stored.shape == expected.shape
    assert stored.dtype == expected.dtype
    assert stored.nbytes == expected.nbytes
    assert np.array_equal(stored.array(), expected)
    assert b"".join(stored.pieces()) == expected.tobytes()
