"""What bnfold knows of an operator of PyTorch beyond what its schema says, declared where its decoder stands."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from functools import cached_property
from typing import Any

from bnfold.affine import Array
from bnfold.frontends.aten.operators.accepted_shapes import Takes
from bnfold.frontends.common.signatures import may_be_affine
from bnfold.semantics import Meaning

ALL = frozenset({"*"})
"""All arguments of an operator."""


class Keeps(Flag):
    """What the first result has of the first input."""

    NOTHING = 0
    RANK = auto()
    CHANNELS = auto()
    TYPE = auto()
    ALL = RANK | CHANNELS | TYPE


@dataclass(frozen=True, eq=False)
class AtenOperator:
    """An operator. Everything has a default, which holds for operators of which nothing is known.

    What it writes to, which results are views, whether it rolls dice, and whether it changes the form of a tensor in
    place is not said here: the registry of torch says it (bnfold.frontends.aten.schema).

    Attributes:
        name: qualified, without overload: "aten::conv2d".
        decode: what it means; None where it has no rule.
        encode: gives it another meaning; None where no meaning of it ever changes.
        undo: of operators that only move or round values, so that a parameter behind them can get new values.
        rounds: of those with `undo`, whether it may convert to another type.
        evaluate: of operators on numbers made of sizes: computes the result.
        has_no_values: whether what it makes is whatever the memory held.
        looks_at_form_of: arguments of which it looks at the form alone, not at the values.
        is_batch_norm: whether it is a batch normalisation.
        trains_by: name of the argument that makes it write to its running statistics, where the schema does not say so.
        changes_no_values: whether it changes only what autograd knows of what the schema says that it writes to.
        may_return_input: whether a result may be the very input, where the schema does not say so.
        depends_on_strides: whether it makes a view or a copy, depending on the strides of its input.
        converts_in_autocast: whether torch.autocast converts what it reads to the region's type.
        keeps: what the first result has of the first input.
        takes: of those with a weight, which tensor they work on, and what shapes it may have.
    """

    name: str = ""
    decode: Callable[..., Meaning] | None = None
    encode: Callable[..., Any] | None = None
    undo: Callable[..., Array | None] | None = None
    rounds: bool = False
    evaluate: Callable[..., Any] | None = None
    has_no_values: bool = False
    looks_at_form_of: frozenset[str] = frozenset()
    is_batch_norm: bool = False
    trains_by: str = ""
    changes_no_values: bool = False
    may_return_input: bool = False
    depends_on_strides: bool = False
    converts_in_autocast: bool = False
    keeps: Keeps = Keeps.NOTHING
    takes: Takes | None = None

    @cached_property
    def may_be_affine(self) -> bool:
        """Whether it can be an affine map."""
        return may_be_affine(self.decode)

    @property
    def is_in_place(self) -> bool:
        """Whether it is the twin of another operator that writes its result over its first input."""
        return self.name.endswith("_")

    @property
    def functional(self) -> str:
        """Name of the operator that makes a tensor of its own."""
        return self.name.removesuffix("_")

    def reads_values(self, argument: str) -> bool:
        """Whether it looks at the values of an argument, and not only at the form."""
        return self.looks_at_form_of is not ALL and argument not in self.looks_at_form_of
