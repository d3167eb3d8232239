"""Programs that are folded wrongly are found out, every kind in every form; right folds are not called wrong."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")

from bnfold.verifier.programs.opening import open_program  # noqa: E402
from bnfold.verifier.programs.parts.prove import Prover  # noqa: E402
from tests.faults.programs import KINDS, NETWORKS, WAYS, compiled, faults, folded, folds, network  # noqa: E402


class Judge:
    """An original that others are held against; it is compiled and observed once."""

    def __init__(self, original, way, seed=0):
        self.way, self.seed = way, seed
        program = open_program("a", compiled(original, way))
        self.graph = program.graph()
        drawn = torch.randn(original.sample, generator=torch.Generator().manual_seed(seed))
        self.observed = program.observe(self.graph, [drawn.to(next(original.parameters()).dtype)])

    def proof(self, new):
        """What is found part by part, whole outputs aside."""
        return Prover(self.graph, open_program("b", compiled(new, self.way)).graph(), self.observed, self.seed).run()


DTYPES = (torch.float32, torch.float16)
# Every network in one form of each type, and all forms among them; the benchmark runs them all.
CASES = [
    (name, dtype, WAYS[(at + half) % 3], at) for at, name in enumerate(NETWORKS) for half, dtype in enumerate(DTYPES)
]
NAMES = [f"{name}-{str(dtype)[6:]}-{way}" for name, dtype, way, _ in CASES]


@pytest.mark.parametrize(("name", "dtype", "way", "seed"), CASES, ids=NAMES)
def test_faults_are_caught_and_right_folds_are_not(name, dtype, way, seed):
    original = network(name, seed, dtype)
    judge = Judge(original, way, seed)
    if name != "padded":
        found = judge.proof(folded(original))
        assert not found.unread, found.unread
        assert all(check.passed for check in found.checks), found.checks
        assert len(found.checks) >= len(original.pairs)
    for kind, wrong in faults(original, seed):
        found = judge.proof(wrong)
        assert not found.unread, found.unread
        assert not all(check.passed for check in found.checks), kind


def test_every_kind_has_a_place():
    found = set()
    for name in NETWORKS:
        for dtype in DTYPES:
            found |= {kind for kind, _ in faults(network(name, 0, dtype), 0)}
    assert found == set(KINDS)


@pytest.fixture(scope="module")
def tokens():
    return network("tokens", 0, torch.float16)


@pytest.fixture(scope="module")
def judge_of_tokens(tokens):
    return Judge(tokens, "exported")


@pytest.mark.parametrize("row", range(0, 8, 3))
@pytest.mark.parametrize("column", range(6))
def test_a_single_number_is_seen_where_channels_stand_last(row, column, tokens, judge_of_tokens):
    wrong = folded(tokens)
    exact = folds(tokens)[0].right()[0][row, column]
    with torch.no_grad():
        number = wrong.chain.c.weight[row, column]
        away = torch.tensor(float("inf") if number > exact else -float("inf"), dtype=torch.float16)
        wrong.chain.c.weight[row, column] = number.nextafter(away)
    found = judge_of_tokens.proof(wrong)
    assert not all(check.passed for check in found.checks)
