"""The law that every rule obeys: a map that moved is still there."""

import numpy as np

from bnfold.refusal import Refusal
from bnfold.rules import Moved, pull, push
from tests.rules.evaluate import absolute, apply, evaluate

# Sums of a few dozen terms, each rounded once: some hundred times the spacing of float64, against the sum of |terms|.
RELATIVE_ERROR = 1e-13


def pull_one(node, affine):
    """A map behind output 0 alone."""
    return pull(node, {0: affine})


def push_one(node, affine):
    """A map in front of the activation alone."""
    return push(node, {node.source: affine})


def assert_pull_one(case, affine) -> Moved:
    """The law for a map behind output 0 alone."""
    return assert_pull_law(case, {0: affine})


def assert_push_one(case, affine) -> Moved:
    """The law for a map in front of the activation alone."""
    return assert_push_law(case, {case.node.source: affine})


def assert_pull_law(case, outputs) -> Moved:
    """outputs(evaluate(node, inputs)) == evaluate(moved, requirements(inputs)), whichever requirements are chosen."""
    moved = pull(case.node, outputs)
    assert isinstance(moved, Moved), moved
    after = case.node if moved.meaning is None else moved.meaning
    left = _under(outputs, evaluate(case.node, case.inputs, case.core))
    bounds = _under(_absolute(outputs), evaluate(absolute(case.node), _absolute_inputs(case), case.bound))
    for requirements in moved.choices:
        assert requirements.keys() <= case.inputs.keys()
        fed = {index: apply(requirements[index], x) if index in requirements else x for index, x in case.inputs.items()}
        _assert_all_same(left, evaluate(after, fed, case.core), bounds)
    return moved


def assert_push_law(case, inputs, rule=push) -> Moved:
    """evaluate(node, inputs(x)) == requirements(evaluate(moved, x)), whichever requirements are chosen."""
    moved = rule(case.node, inputs)
    assert isinstance(moved, Moved), moved
    after = case.node if moved.meaning is None else moved.meaning
    fed = {index: apply(inputs[index], x) if index in inputs else x for index, x in case.inputs.items()}
    left = evaluate(case.node, fed, case.core)
    widest = {
        index: apply(absolute(inputs[index]), np.abs(x)) if index in inputs else np.abs(x)
        for index, x in case.inputs.items()
    }
    bounds = evaluate(absolute(case.node), widest, case.bound)
    for requirements in moved.choices:
        assert requirements.keys() <= set(range(len(left)))
        _assert_all_same(left, _under(requirements, evaluate(after, case.inputs, case.core)), bounds)
    return moved


def _under(maps, tensors):
    return [apply(maps[index], y) if index in maps else y for index, y in enumerate(tensors)]


def _absolute(maps):
    return {index: absolute(affine) for index, affine in maps.items()}


def _absolute_inputs(case):
    return {index: np.abs(x) for index, x in case.inputs.items()}


def _assert_all_same(left, right, bounds):
    for one, other, bound in zip(left, right, bounds, strict=True):
        assert_same(one, other, np.abs(bound))


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
