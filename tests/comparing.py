"""The one comparison of results in tests: channel by channel, against the channel's own largest value."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Half a digit of float16, three of float32's seven: tests use small, well-conditioned networks.
RELATIVE_ERROR = {"bfloat16": 1e-1, "float16": 2e-2, "float32": 3e-5, "float64": 1e-11, "complex64": 3e-5}
# A channel that is small against the rest of its tensor is measured at least on this part of the rest.
SMALLEST_CHANNEL = 1e-3


def assert_equal_results(expected: Any, got: Any, name: str = "result", relative: float | None = None) -> None:
    """Two arrays or tensors, or lists, tuples and dicts of them, agree as `difference` demands.

    Raises:
        AssertionError: names the first that differs.
    """
    expected, got = leaves(expected), leaves(got)
    assert len(expected) == len(got), f"{name}: {len(expected)} results became {len(got)}"
    for place, (theirs, ours) in enumerate(zip(expected, got, strict=True)):
        problem = difference(theirs, ours, relative)
        assert not problem, f"{name}[{place}]: {problem}"


def difference(expected: Any, got: Any, relative: float | None = None) -> str:
    """How two arrays or tensors differ; "" where they agree.

    They agree if dtype and shape are the same, integers, booleans and strings are equal, and no entry of a channel
    (axis 1) differs by more than `relative` times the channel's largest expected value.

    Args:
        expected: what is right; if it is floating point, it must be finite.
        got: what is judged.
        relative: of the largest value; by default what `RELATIVE_ERROR` has for the dtype.
    """
    if _form(expected) != _form(got):
        return "{} {} became {} {}".format(*_form(expected), *_form(got))
    dtype, a, b = _form(expected)[0], _array(expected), _array(got)
    if a.dtype.kind not in "fc":
        return "" if np.array_equal(a, b) else "other values"
    assert np.isfinite(a).all(), "the reference itself is not finite"
    if not np.isfinite(b).all():
        return "not finite"
    relative = RELATIVE_ERROR[dtype] if relative is None else relative
    axes = tuple(axis for axis in range(a.ndim) if axis != 1)
    error, magnitude = (np.abs(values).max(axis=axes, initial=0.0) for values in (a - b, a))
    allowed = relative * (magnitude + SMALLEST_CHANNEL * magnitude.max(initial=0.0))
    if (error <= allowed).all():
        return ""
    worst = int(np.argmax(np.ravel(error / np.maximum(allowed, np.finfo(np.float64).tiny))))
    return f"error {np.ravel(error)[worst]:.3g} where values reach {np.ravel(magnitude)[worst]:.3g}, channel {worst}"


def leaves(result: Any) -> list[Any]:
    """The arrays or tensors in a result, in order."""
    if isinstance(result, Mapping):
        result = list(result.values())
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, (list, tuple)) else [result]


def _form(values: Any) -> tuple[str, tuple[int, ...]]:
    return str(getattr(values, "dtype", type(values).__name__)).removeprefix("torch."), tuple(np.shape(values))


def _array(values: Any) -> np.ndarray:
    """Floating point in float64 or complex128; a tensor of torch as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.double() if values.dtype.is_floating_point else values).numpy()
    array = np.asarray(values)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array.astype(np.float64) if array.dtype.kind == "f" or array.dtype.name == "bfloat16" else array
