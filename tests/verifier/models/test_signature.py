"""Names, order, dtypes and declared shapes: what a caller of the original relies on."""

import numpy as np
import pytest

from bnfold.verifier import VerifyOptions, check
from tests.verifier.small_models import DOUBLE, FLOAT, model, node, unary

X = {"x": (FLOAT, [2, 3])}


def test_a_lost_dimension_fails():
    flat = model(
        [node("Squeeze", "x axes", "y")], {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, None)}, {"axes": np.array([0])}
    )
    verdict = check(unary("Identity", shape=[1, 3]), flat, VerifyOptions())
    assert not verdict.passed
    assert verdict.problem == "output 'y' is declared [3] against [1, 3]"


def test_an_added_dimension_fails():
    deep = model([node("Unsqueeze", "x axes", "y")], {"x": (FLOAT, [3])}, {"y": (FLOAT, None)}, {"axes": np.array([1])})
    verdict = check(unary("Identity", shape=[3]), deep, VerifyOptions())
    assert verdict.problem == "output 'y' is declared [3, 1] against [3]"


def test_a_changed_dtype_fails():
    widened = model([node("Cast", "x", "y", to=DOUBLE)], X, {"y": (DOUBLE, [2, 3])})
    verdict = check(unary("Identity"), widened, VerifyOptions())
    assert not verdict.passed
    assert verdict.problem == "output 'y' is tensor(double) against tensor(float) in the original"


def test_a_changed_input_dtype_fails():
    verdict = check(unary("Identity"), unary("Identity", DOUBLE), VerifyOptions())
    assert verdict.problem == "input 'x' is tensor(double) against tensor(float) in the original"


def two_outputs(*names) -> bytes:
    nodes = [node("Relu", "x", "a"), node("Neg", "x", "b"), node("Abs", "x", "c")]
    return model(nodes, X, {name: (FLOAT, [2, 3]) for name in names})


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("a",), "outputs missing: b"),
        (("a", "b", "c"), "outputs added: c"),
        (("a", "c"), "outputs missing: b; outputs added: c"),
        (("b", "a"), "outputs in another order: b, a against a, b"),
    ],
    ids=["missing", "extra", "renamed", "reordered"],
)
def test_other_outputs_fail(names, problem):
    verdict = check(two_outputs("a", "b"), two_outputs(*names), VerifyOptions())
    assert verdict.status == "failed"
    assert verdict.problem == problem


def test_an_input_that_only_the_candidate_needs_fails():
    with_mask = model([node("Mul", "x mask", "y")], {**X, "mask": (FLOAT, [2, 3])}, {"y": (FLOAT, [2, 3])})
    assert check(unary("Identity"), with_mask, VerifyOptions()).problem == "inputs added: mask"


def test_a_candidate_that_fixes_a_free_dimension_fails():
    free = model([node("Relu", "x", "y")], {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])})
    fixed = model([node("Relu", "x", "y")], {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [1, 3])})
    assert check(free, fixed, VerifyOptions()).problem == "input 'x' is declared [1, 3] against [n, 3]"


def with_defaults(*defaults) -> bytes:
    weights = {"w": np.float32([1, 2, 3]), "t": np.float32([4, 5, 6])}
    inputs = {**X, **{name: (FLOAT, [3]) for name in defaults}}
    return model([node("Mul", "x w", "s"), node("Add", "s t", "y")], inputs, {"y": (FLOAT, [2, 3])}, weights)


def test_overridable_initializers_are_not_fed_and_may_go():
    assert check(with_defaults("w", "t"), with_defaults("w"), VerifyOptions()).passed
    assert check(with_defaults("w", "t"), with_defaults(), VerifyOptions()).passed


def test_overridable_initializers_may_not_come():
    verdict = check(with_defaults("w"), with_defaults("w", "t"), VerifyOptions())
    assert verdict.status == "failed"
    assert verdict.problem.startswith("input 't' has a default value in the new model")


def test_a_default_may_not_become_an_obligation():
    required = model([node("Mul", "x w", "y")], {**X, "w": (FLOAT, [3])}, {"y": (FLOAT, [2, 3])})
    default = model([node("Mul", "x w", "y")], {**X, "w": (FLOAT, [3])}, {"y": (FLOAT, [2, 3])},
                    {"w": np.float32([1, 2, 3])})  # fmt: skip
    assert check(default, required, VerifyOptions()).problem == "inputs added: w"
    assert not check(required, default, VerifyOptions()).passed
