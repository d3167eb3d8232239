"""What folding bugs would do to small networks: each must be caught, and no correct fold may be called wrong."""

import functools

import numpy as np
import pytest

import bnfold
from tests.faults.catalogue import KINDS, Spread
from tests.faults.networks import NETWORKS
from tests.faults.sites import Subject

FAULTS_EACH = 3
SEEDS = 5


@functools.cache
def subject(name: str) -> Subject:
    model = NETWORKS[name](seed=0)
    result = bnfold.fold(model, verify=None, merge_branches=False)
    return Subject(model, result.model, result.report.outcome.folds, result.report.outcome.kept)


def kinds_of(name: str) -> tuple[str, ...]:
    """All, each network beginning with another, so that together they try every kind."""
    first = list(NETWORKS).index(name) * FAULTS_EACH % len(KINDS)
    return (*list(KINDS)[first:], *list(KINDS)[:first])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_fault_is_caught(name):
    of = subject(name)
    spread = Spread(of, np.random.default_rng(0), kinds_of(name))
    faults = list(spread.draw(FAULTS_EACH))
    assert len(faults) == FAULTS_EACH
    missed = [fault.what for fault in faults if bnfold.verify(of.original.model, fault.model).passed]
    assert not missed


@pytest.mark.parametrize("name", NETWORKS)
def test_a_correct_fold_is_never_called_wrong(name):
    of = subject(name)
    results = [bnfold.verify(of.original.model, of.folded.model, seed=seed) for seed in range(SEEDS)]
    assert [result.problem for result in results] == [""] * SEEDS


def test_biases_of_half_precision_are_seen_behind_a_relu():
    of = subject("passing_relu_float16")
    faults = list(Spread(of, np.random.default_rng(0), ("one channel's bias by 1 %",)).draw(6))
    assert len(faults) == 2
    assert not [fault.what for fault in faults if bnfold.verify(of.original.model, fault.model).passed]
