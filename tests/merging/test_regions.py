"""Random regions of branches: what merges computes the same. `python -m benchmarks.branch_regions` does many more."""

import pytest

from tests.merging.judge import Tally, examine
from tests.merging.regions import generate

REGIONS = 600
CHUNK = 100


@pytest.fixture(scope="module", params=range(0, REGIONS, CHUNK))
def tally(request) -> Tally:
    return examine(range(request.param, request.param + CHUNK))


def test_no_region_is_merged_wrongly(tally):
    assert tally.findings == []
    assert tally.regions == CHUNK


def test_most_regions_merge_and_some_must_not(tally):
    assert 0.4 * CHUNK <= tally.merged <= 0.9 * CHUNK
    assert tally.branches[2] >= 10
    assert tally.branches[3] >= 2
    assert {"branches-differ", "costs-more", "shift-cannot-pass"} <= tally.reasons.keys()


def test_the_same_seed_gives_the_same_bytes():
    assert generate(5).SerializeToString() == generate(5).SerializeToString()
