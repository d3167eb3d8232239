"""The table of operators: one row for each that bnfold knows anything of."""

from collections.abc import Mapping, Sequence

from bnfold.frontends.onnx.graph import OnnxNode, Traits, canonical_domain
from bnfold.frontends.onnx.operators import (
    arithmetic,
    attention,
    batch_norms,
    biases,
    casts,
    choices,
    commuting,
    contrib,
    convolutions,
    fused,
    integer_products,
    linear_models,
    machine_learning,
    movement,
    norms,
    padding,
    parts,
    products,
    quantization,
    recurrent,
    sampling,
    scatters,
    selections,
    sequences,
    without_decoder,
)
from bnfold.frontends.onnx.operators.row import Family, Operator

_FAMILIES: Sequence[Family] = tuple(
    file.FAMILY
    for file in (
        arithmetic,
        attention,
        batch_norms,
        biases,
        casts,
        choices,
        commuting,
        contrib,
        convolutions,
        fused,
        integer_products,
        linear_models,
        machine_learning,
        movement,
        norms,
        padding,
        parts,
        products,
        quantization,
        recurrent,
        sampling,
        scatters,
        selections,
        sequences,
        without_decoder,
    )
)

OPERATORS: Mapping[tuple[str, str], Operator] = {
    (operator.domain, operator.op_type): operator for family in _FAMILIES for operator in family.operators
}
"""By domain, of which "" is ONNX's own, and type."""

TRAITS: Mapping[tuple[str, str], Traits] = {key: operator.traits for key, operator in OPERATORS.items()}
"""Of all operators, by the same."""


def operator_of(node: OnnxNode) -> Operator | None:
    """The row of a node's operator; None where there is none, or a function of the file goes by the name."""
    return None if node.calls_function else OPERATORS.get((canonical_domain(node.proto.domain), node.proto.op_type))
