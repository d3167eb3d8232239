"""What is remembered of tensors that hold other values."""

from dataclasses import dataclass

import numpy as np

from bnfold.affine import Affine, Drift
from bnfold.claims import Held, Ledger


@dataclass(eq=False)
class Tensor:
    name: str


def affine(scale: float, shift: float) -> Affine:
    return Affine(np.full((1, 1), scale), np.full((1, 1), shift))


def renamed(ledger: Ledger[Tensor], tensor: Tensor, held: Held | None) -> None:
    ledger.move(tensor, held)
    tensor.name += "_folded"


def test_maps_of_one_tensor_add_up_from_the_file_on():
    ledger, tensor = Ledger[Tensor](), Tensor("t")
    renamed(ledger, tensor, Held(affine(2, 1), "n1"))
    renamed(ledger, tensor, Held(affine(3, 5), "n2"))
    (claim,) = ledger.claims(lambda _: True)
    assert (claim.original, claim.new, claim.folds) == ("t", "t_folded_folded", {"n1", "n2"})
    newest = 7.0
    between = 3 * newest + 5
    assert claim.scale.item() * newest + claim.shift.item() == 2 * between + 1


def test_nothing_is_claimed_where_a_map_is_not_known():
    ledger = Ledger[Tensor]()
    before, behind, drifts = Tensor("before"), Tensor("behind"), Tensor("drifts")
    for tensor, maps in (
        (before, [None, Held(affine(2, 1), "n")]),
        (behind, [Held(affine(2, 1), "n"), None]),
        (drifts, [Held(Drift.along_last_axis(2), "n")]),
    ):
        for held in maps:
            renamed(ledger, tensor, held)
    assert ledger.claims(lambda _: True) == ()


def test_nothing_is_claimed_of_tensors_that_are_gone():
    ledger, stays, goes = Ledger[Tensor](), Tensor("stays"), Tensor("goes")
    for tensor in (stays, goes):
        renamed(ledger, tensor, Held(affine(2, 1), "n"))
    assert [claim.original for claim in ledger.claims(lambda tensor: tensor is stays)] == ["stays"]
