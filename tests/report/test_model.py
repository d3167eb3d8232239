from bnfold.report.model import Tally
from tests.reports import fold, kept, report


def test_batch_norms_and_other_affine_nodes_are_counted_apart():
    mixed = report(
        folds=[fold("a"), fold("b"), fold("c", op="Mul")],
        stays=[kept("d"), kept("e", op="Add"), kept("f", op="Sub"), kept("g", op="Div")],
    )

    assert mixed.batch_norms == Tally(folded=2, kept=1)
    assert mixed.batch_norms.found == 3
    assert mixed.affine_nodes == Tally(folded=1, kept=3)
    assert mixed.affine_nodes.found == 4
