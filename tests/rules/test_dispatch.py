"""Whatever is not understood lets nothing pass, and says why."""

import pytest

from bnfold.affine import identity
from bnfold.refusal import Reason, Refusal
from bnfold.rules import pull, push
from bnfold.semantics import Opaque


@pytest.mark.parametrize("move", [pull, push])
@pytest.mark.parametrize("reason", Reason)
def test_opaque(move, reason):
    refusal = move(Opaque(reason, "what was seen", hint="what helps"), identity(4))
    assert refusal == Refusal(reason, "what was seen", path=(), hint="what helps")
