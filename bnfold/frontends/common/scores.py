"""The number that scores of attention are multiplied with: runtimes look for it, so it stays, and maps pass it."""

import numpy as np

from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Commuting, Form, Opaque


def multiplied_scores(meaning: AffineMap) -> Commuting | Opaque:
    """What a node means whose constant is fixed: f(s * x + t) == s * f(x) + c * t passes f(x) = c * x.

    Args:
        meaning: what it would mean otherwise.
    """
    factor = float(meaning.affine.scale.reshape(-1)[0])
    if meaning.form is Form.SCALE and factor != 0 and np.all(meaning.affine.scale == factor):
        return Commuting(meaning.affine.rank, shift_factor=factor, source=meaning.source)
    return Opaque(Reason.SPELLED_OUT, "it is part of a spelled-out attention")
