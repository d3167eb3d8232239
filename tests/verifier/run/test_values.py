"""Tensors that numpy and onnxruntime share."""

import gc

import ml_dtypes
import numpy as np
import pytest

from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from bnfold.verifier.run.values import to_array, to_value
from tests.verifier.small_models import FLOAT, model, node, unary

TYPES = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int8, np.uint16, np.int64, np.bool_)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)])
def test_values_keep_type_shape_and_numbers(dtype, shape):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = to_array(to_value(values), values.dtype)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("strange", [lambda a: a.T, lambda a: a[:, ::2], lambda a: unaligned(a)])
def test_memory_that_is_not_in_order_is_put_in_order(strange):
    values = strange(np.arange(24, dtype=np.float32).reshape(4, 6))
    np.testing.assert_array_equal(to_array(to_value(values), values.dtype), values)


def unaligned(values: np.ndarray) -> np.ndarray:
    room = np.empty(values.nbytes + 1, np.uint8)
    moved = room[1:].view(values.dtype).reshape(values.shape)
    moved[...] = values
    return moved


def test_what_a_run_made_stays_when_its_session_is_gone():
    """Each run writes into memory of its own, which lives as long as somebody looks at it."""
    ports = {"x": (FLOAT, [64, 64])}, {"y": (FLOAT, [64, 64])}
    session = Session(
        Model.read("a model", model([node("Neg", "x", "n"), node("Neg", "n", "y")], *ports)), exposed=["n"]
    )
    seen = [session.observe({"x": np.full((64, 64), number, np.float32)}, ["n"]) for number in range(20)]
    arrays = [(observation.outputs[0][::2], observation.tensors["n"].T) for observation in seen]
    del session, seen
    gc.collect()
    for number, (y, n) in enumerate(arrays):
        assert (y == number).all()
        assert (n == -number).all()


def test_what_a_run_made_cannot_be_written_to():
    (y,) = Session(Model.read("a model", unary("Neg"))).run({"x": np.ones((2, 3), np.float32)})
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 3
