"""Weights of any types and sizes, for what finds them in the bytes of a file."""

import numpy as np
from hypothesis import strategies as st

TYPES = (np.float16, np.float32, np.float64, np.int64, np.int8)


@st.composite
def lists_of_weights(draw: st.DrawFn) -> list[np.ndarray]:
    """One to five matrices of small integers, some of them large, some empty."""
    each = st.tuples(st.sampled_from(TYPES), st.integers(0, 40), st.integers(0, 3000))
    sizes = draw(st.lists(each, min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [rng.integers(-9, 9, (rows, columns)).astype(dtype) for dtype, rows, columns in sizes]
