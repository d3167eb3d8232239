"""Changed tensors in groups that fit the memory."""

import bnfold
from bnfold.verifier.models.changed import find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.batches import batches
from tests.faults.networks import stack


def test_tensors_that_do_not_fit_together_are_looked_at_in_turn():
    original = stack(0)
    ours = Structure(Model("the original", original))
    theirs = Structure(Model("the new model", bnfold.fold(original, verify=None).model))
    tensors = find_changed_tensors(ours, theirs)
    assert len(tensors) > 1
    groups = {budget: batches(tensors, ours, {"x": (2, 3, 8, 8)}, budget) for budget in (1, 2**40)}
    assert groups == {1: [[changed] for changed in tensors], 2**40: [tensors]}
