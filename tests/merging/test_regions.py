"""Random regions of branches: what merges computes the same. `python -m benchmarks.branch_regions` does many more."""

import pytest

from tests.merging.judge import Tally, examine
from tests.merging.regions import generate

REGIONS = 500


@pytest.fixture(scope="module")
def tally() -> Tally:
    return examine(range(REGIONS))


def test_no_region_is_merged_wrongly(tally):
    assert tally.findings == []
    assert tally.regions == REGIONS


def test_most_regions_merge_and_some_must_not(tally):
    assert 0.4 * REGIONS <= tally.merged <= 0.9 * REGIONS
    assert tally.branches[1] >= 50
    assert tally.branches[2] >= 50
    assert tally.branches[3] >= 10
    assert {"branches-differ", "costs-more", "shift-cannot-pass"} <= tally.reasons.keys()


def test_the_same_seed_gives_the_same_bytes():
    assert generate(5).SerializeToString() == generate(5).SerializeToString()
