"""Which combinations of choices are tried, and which are left out because they have no say."""

from bnfold.choices import Picks
from bnfold.refusal import Reason, Refusal


def tried(ends, places=((0, 1), (0, 1), (0, 1)), *, learns=True):
    """The combinations, where each ends with what `ends` says of it."""
    picks = Picks()
    found = []
    for _ in picks.attempts():
        taken = tuple(picks.choose(choices) for choices in places)
        found.append(taken)
        if learns:
            picks.learn(Refusal(Reason.CYCLE, str(ends(taken))))
    return found


def test_all_combinations_where_nothing_is_learnt():
    assert tried(str, learns=False) == [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    assert len(tried(str, ((0, 1),) * 6, learns=False)) == 16


def test_each_place_is_asked_once_where_none_has_a_say():
    assert tried(len) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert tried(len, ((0, 1, 2), (0, 1, 2))) == [(0, 0), (0, 1), (1, 0)]


def test_what_hangs_on_the_first_place_alone_is_found_early():
    ways = tried(lambda taken: taken[0], ((0, 1),) * 6)
    assert (1, 0, 0, 0, 0, 0) in ways
    assert len(ways) < 16


def test_where_every_end_is_another_nothing_is_left_out():
    assert len(tried(str)) == 8
