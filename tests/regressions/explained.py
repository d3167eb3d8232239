"""What a test demands of every BatchNorm, whichever rules exist: gone with equal outputs, or kept with a reason."""

import re

from tests.folding import Folded, fold_and_compare
from tests.regressions.bodies import count_everywhere


def fold_or_explain(model, **options) -> Folded:
    """Fold, compare the outputs, and require that each BatchNorm is folded or carries a code, evidence and a path."""
    folded = fold_and_compare(model, **options)
    gone = [entry for entry in folded.folds if entry.is_batch_norm]
    kept = [entry for entry in folded.kept if entry.is_batch_norm]
    assert len(gone) + len(kept) == count_everywhere(model, "BatchNormalization")
    assert len(kept) == count_everywhere(folded.model, "BatchNormalization")
    for entry in kept:
        assert entry.refusals, f"{entry.node} stays without a word"
        for refusal in entry.refusals:
            assert re.fullmatch(r"BNF\d{3}", refusal.reason.code)
            assert refusal.evidence
            assert refusal.path[0] == entry.node
    return folded
