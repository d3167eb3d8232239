"""A part of the original in float64, by onnx's reference implementation: slow, exact, and asked only in doubt."""

from collections.abc import Mapping

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.references import own_references
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.subgraph import TO_DOUBLE, Excerpt


def exact_values(graph: Structure, site: Site, values: Mapping[str, Array]) -> Array | None:
    """What the original's part of a site makes, in float64.

    Args:
        graph: the original.
        site: the site.
        values: of the tensors in its boundary.

    Returns:
        The values; None where the reference implementation lacks an operator, or stumbles.
    """
    from onnx.reference import ReferenceEvaluator

    excerpt = Excerpt(graph, TO_DOUBLE)
    name = excerpt.add(site, site.original, 0)
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(excerpt.build_whole(values), new_ops=own_references())
            (result,) = evaluator.run([name], excerpt.feeds(values))
    except Exception:  # whatever it is: the check goes on without this witness
        return None
    return result if isinstance(result, np.ndarray) and result.dtype == np.float64 else None
