"""The law that every rule obeys: a map that moved is still there."""

import numpy as np

from bnfold.refusal import Refusal
from bnfold.rules import Moved, pull, push
from tests.rules.evaluate import absolute, apply, evaluate

# Sums of a few dozen terms, each rounded once: some hundred times the spacing of float64, against the sum of |terms|.
RELATIVE_ERROR = 1e-13


def assert_pull_law(node, affine, x) -> Moved:
    """affine(evaluate(node, x)) == evaluate(moved, demands(x))"""
    moved = pull(node, affine)
    assert isinstance(moved, Moved), moved
    assert moved.demands.keys() <= {node.source}
    after = moved.meaning if moved.meaning is not None else node
    demanded = moved.demands.get(node.source)
    fed = x if demanded is None else apply(demanded, x)
    bound = apply(absolute(affine), evaluate(absolute(node), np.abs(x)))
    assert_same(apply(affine, evaluate(node, x)), evaluate(after, fed), bound)
    return moved


def assert_push_law(node, affine, x) -> Moved:
    """evaluate(node, affine(x)) == demands(evaluate(moved, x))"""
    moved = push(node, affine)
    assert isinstance(moved, Moved), moved
    assert moved.demands.keys() <= {0}
    after = moved.meaning if moved.meaning is not None else node
    computed = evaluate(after, x)
    demanded = moved.demands.get(0)
    bound = evaluate(absolute(node), apply(absolute(affine), np.abs(x)))
    assert_same(evaluate(node, apply(affine, x)), computed if demanded is None else apply(demanded, computed), bound)
    return moved


def assert_same(left, right, bound):
    """Equal but for rounding errors of terms whose absolute values add up to the bound."""
    assert left.shape == right.shape
    assert np.isfinite(bound).all(), "the example overflows float64 and shows nothing"
    error = np.abs(left - right)
    assert (error <= RELATIVE_ERROR * bound).all(), f"{left}\n{right}\nbound {bound}"


def assert_refused(answer, reason, evidence):
    """A refusal with exactly this reason and this evidence."""
    assert isinstance(answer, Refusal), answer
    assert (answer.reason, answer.evidence) == (reason, evidence)
