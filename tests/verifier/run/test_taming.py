"""Models that overflow: smaller samples are compared, and what is left is said in words."""

import numpy as np
import pytest

from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models.signature import Port
from bnfold.verifier.run.session import Observation
from bnfold.verifier.run.taming import Tamer
from tests.verifier.small_models import FLOAT, HALF, model, node


def scaled(first, second, element=FLOAT, dtype=np.float32, folded=False):
    """x * first * second, as two products or as one, with a Relu behind them."""
    nodes = [node("Mul", "x a", "h"), node("Mul", "h b", "n"), node("Relu", "n", "y")]
    parameters = {"a": np.full((4, 1), first, dtype), "b": np.full((4, 1), second, dtype)}
    if folded:
        nodes = [node("Mul", "x ab", "n"), nodes[-1]]
        parameters = {"ab": np.full((4, 1), np.float64(dtype(first)) * np.float64(dtype(second)), dtype)}
    return model(nodes, {"x": (element, [4, 16])}, {"y": (element, [4, 16])}, parameters)


@pytest.mark.parametrize(
    ("first", "second", "element", "dtype"),
    [(1e38, 1e-20, FLOAT, np.float32), (6e4, 2e-3, HALF, np.float16), (3e38, 1e-3, FLOAT, np.float32)],
)
def test_an_original_that_overflows_on_the_way_is_compared_on_smaller_samples(first, second, element, dtype):
    verdict = check(scaled(first, second, element, dtype), scaled(first, second, element, dtype, folded=True))
    assert verdict.passed, verdict.problem
    assert verdict.samples == 6


@pytest.mark.parametrize("error", [1.01, -1.0])
def test_what_is_wrong_in_such_a_model_is_seen(error):
    verdict = check(scaled(1e38, 1e-20), scaled(1e38, 1e-20 * error, folded=True))
    assert not verdict.passed


def test_samples_say_how_much_smaller_they_are():
    options = VerifyOptions(probe=False)
    problem = check(scaled(3e38, 1e-20), scaled(3e38, 1.01e-20, folded=True), options).problem
    assert "divided by 2^" in problem
    assert "infinit" not in problem


def test_the_values_of_the_caller_are_left_alone():
    given = VerifyOptions(inputs={"x": np.full((4, 16), 100, np.float32)}, probe=False)
    problem = check(scaled(1e38, 1e-20), scaled(1e38, 1e-20, folded=True), given).problem
    assert "finite numbers in 64 places where the original overflows in sample 0" in problem


def test_an_original_that_is_never_finite_is_compared_as_it_is():
    verdict = check(scaled(np.inf, 1), scaled(np.inf, 1, folded=True))
    assert verdict.passed
    assert not check(scaled(np.inf, 1), scaled(1, 1, folded=True)).passed


def test_where_nothing_helps_no_further_sample_is_tried():
    tamer, feeds = Tamer([Port("x", "tensor(float)", (1,))], fixed=()), {"x": np.ones(1, np.float32)}
    never, runs = Observation([np.float32([np.nan])], {}), []
    assert tamer.tame(feeds, never, lambda fed: runs.append(fed) or never) is None
    assert runs
    tried = len(runs)
    assert tamer.tame(feeds, never, lambda fed: runs.append(fed) or never) is None
    assert len(runs) == tried
