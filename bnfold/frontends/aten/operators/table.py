"""The table of operators: one row for each that bnfold knows anything of.

A new operator is a decorator at a decoder. Operators in place have no rows: they are the twins of those that make a
tensor of their own. What the schema of an operator says is not repeated (bnfold.frontends.aten.schema).
"""

from collections.abc import Mapping, Sequence
from functools import cache

from bnfold.frontends.aten.operators import (
    arithmetic,
    attention,
    batch_norms,
    choices,
    commuting,
    convolutions,
    movement,
    norms,
    parts,
    products,
    selections,
    without_decoder,
)
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import AtenOperator

_FAMILIES: Sequence[AtenFamily] = tuple(
    file.FAMILY
    for file in (
        arithmetic,
        attention,
        batch_norms,
        choices,
        commuting,
        convolutions,
        movement,
        norms,
        parts,
        products,
        selections,
        without_decoder,
    )
)

OPERATORS: Mapping[str, AtenOperator] = {row.name: row for family in _FAMILIES for row in family.operators}
"""By qualified names."""


@cache
def operator_of(name: str) -> AtenOperator:
    """What is known of an operator.

    Args:
        name: qualified, without overload.

    Returns:
        Its row; for an operator in place, what holds of the one that it is the twin of; nothing for any other.
    """
    row, twin = OPERATORS.get(name), OPERATORS.get(name.removesuffix("_"))
    if row is None and twin is not None:
        return AtenOperator(name, decode=twin.decode, encode=twin.encode, keeps=twin.keeps)
    return row or AtenOperator(name)
