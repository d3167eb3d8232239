"""The uses of a tensor keep their order, whatever is added and dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.frontends.onnx.readers import Uses

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=20)


@given(STEPS)
def test_as_a_list_that_is_searched(steps):
    uses, expected = Uses(), []
    for adds, number in steps:
        use = (f"node {number}", number)
        if adds and use not in expected:
            uses.add(use)
            expected.append(use)
        elif use in expected:
            uses.drop(use)
            expected.remove(use)
    assert list(uses) == expected
    assert len(uses) == len(expected)
    assert [uses[index] for index in range(-len(expected), len(expected))] == expected * 2
    assert uses[:3] == expected[:3]
    assert all(use in uses for use in expected)


def test_what_is_not_there_cannot_be_dropped():
    uses = Uses()
    with pytest.raises(KeyError):
        uses.drop(("node", 0))
    with pytest.raises(IndexError):
        uses[0]
