"""A part of the original in float64, by onnx's reference implementation: slow, exact, and asked only in doubt."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.parts.excerpt import TO_DOUBLE, Excerpt
from bnfold.judge.sites import Site
from bnfold.judge.structure import Structure


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
            evaluator = ReferenceEvaluator(excerpt.build_whole(values), new_ops=[_batch_normalization()])
            (result,) = evaluator.run([name], excerpt.feeds(values))
    except Exception:  # whatever it is: the check goes on without this witness
        return None
    return result if isinstance(result, np.ndarray) and result.dtype == np.float64 else None


@cache
def _batch_normalization() -> Any:  # noqa: ANN401 - a class of onnx's, which is imported late
    """Onnx's own takes the statistics of the batch in the versions before 14, whatever the node says.

    Source: ONNX BatchNormalization-7 to -15, in inference.
    """
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        op_domain = ""

        def _run(self, x: Array, *parameters: Array, epsilon: float, **attributes: Any) -> tuple[Array]:  # noqa: ANN401
            if attributes.get("training_mode") or attributes.get("spatial", 1) == 0:
                raise NotImplementedError("statistics of the batch, or of each pixel")
            shape = (1, -1) + (1,) * (x.ndim - 2)
            scale, bias, mean, variance = (parameter.reshape(shape) for parameter in parameters)
            return ((x - mean) * (scale / np.sqrt(variance + epsilon)) + bias,)

    return BatchNormalization
