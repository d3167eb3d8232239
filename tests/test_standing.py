"""Answers that are remembered while folding are those that would be given again."""

import numpy as np
import pytest

from bnfold import standing
from bnfold.meanings import Changes, Meanings
from bnfold.refusal import Reason
from tests.differential import generator, streams
from tests.differential.compare import copied, folded_in_place
from tests.folding import fold
from tests.networks import Network

SEEDS = range(3_000_000, 3_000_040)


def _outcomes(generate, seeds):
    results = []
    for seed in seeds:
        model = copied(generate(seed))
        outcome = folded_in_place(model)
        results.append((seed, outcome.folds, outcome.kept, outcome.merges, model.SerializeToString(deterministic=True)))
    return results


@pytest.mark.parametrize("generate", [streams.generate, generator.generate])
def test_what_is_remembered_changes_nothing(generate, monkeypatch):
    remembered = _outcomes(generate, SEEDS)
    monkeypatch.setattr(standing, "_MOST_ASKED", -1)
    assert _outcomes(generate, SEEDS) == remembered


@pytest.mark.parametrize("generate", [streams.generate, generator.generate])
def test_meanings_that_are_kept_are_those_that_would_be_read_again(generate, monkeypatch):
    kept = _outcomes(generate, SEEDS)
    monkeypatch.setattr(Meanings, "_still_holds", lambda *_: False)
    assert _outcomes(generate, SEEDS) == kept


def test_meanings_that_are_kept_for_good_would_be_wrong(monkeypatch):
    """The test above can fail."""
    read_anew = _outcomes(generator.generate, SEEDS)
    monkeypatch.setattr(Changes, "kept", lambda *_: True)
    assert _outcomes(generator.generate, SEEDS) != read_anew


def test_to_remember_for_good_would_miss_folds(monkeypatch):
    """A fold opens the way for a neighbour that was refused before: the test above can fail."""
    monkeypatch.setattr(standing, "_MOST_ASKED", -1)
    asked_anew = _outcomes(generator.generate, SEEDS)
    monkeypatch.undo()
    monkeypatch.setattr(Changes, "left_alone", lambda *_: True)
    assert _outcomes(generator.generate, SEEDS) != asked_anew


def test_an_answer_is_given_again_only_while_nothing_has_changed(monkeypatch):
    """A norm that stays is asked once up and down and once across; a fold elsewhere is no reason to ask again."""
    asked = []
    original = standing.Standing.ask

    def ask(self, node, question):
        def noted():
            asked.append(node.label)
            return question()

        return original(self, node, noted)

    monkeypatch.setattr(standing.Standing, "ask", ask)
    network = Network()
    network.node("Sigmoid", ["v"], "p")
    network.node("Sigmoid", [network.batch_norm("p", "alone", 3)], "q")
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.node("Relu", [network.batch_norm("c", "crosses", 3)], "r")
    network.node("Conv", ["r", network.weight("u", 3, 3, 1, 1)], "d")
    network.node("Add", ["c", "d"], "s")
    network.node("Conv", ["s", network.weight("k", 3, 3, 1, 1)], "y")
    for key in ("scale", "var"):
        network.constant(f"crosses.{key}", np.ones(3))
    outcome = fold(network.model({"x": [1, 3, 5, 5], "v": [1, 3, 5, 5]}, ["q", "y"]))
    assert [entry.direction for entry in outcome.folds] == ["across"]
    assert outcome.kept[0].refusals[0].reason is Reason.NOT_LINEAR
    assert asked.count("alone_node") == 2
    assert asked.count("crosses_node") == 2
