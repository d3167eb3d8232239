"""Patterns of operators: an expression over the tensors of a graph, and where a graph has it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TypeAlias

from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue
from bnfold.refusal import Refusal

# Exporters write 1 / sqrt(2) in as many digits as they like, float16 has three.
_DIGITS = 1e-3
_FIRST_WITH_LIMITS_AS_INPUTS = 11


@dataclass(frozen=True)
class Op:
    """An operator of the ONNX standard of one of these types; the order of a sum's or a product's operands is free.

    Attributes:
        types: of the operator.
        operands: its first inputs.
        limits: of a Clip, wherever its version has them: lowest and highest.
    """

    types: tuple[str, ...]
    operands: tuple["Pattern", ...]
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class OneOf:
    """The first of several patterns that fits."""

    patterns: tuple["Pattern", ...]


@dataclass(frozen=True)
class Shared:
    """A tensor that the expression uses several times, and what makes it."""

    name: str
    pattern: "Pattern"


@dataclass(frozen=True)
class Computed:
    """A tensor that may be any that is computed at run time, the same wherever the name stands."""

    name: str


@dataclass(frozen=True)
class Number:
    """A constant of one number: a certain one, or any."""

    value: float | None = None


@dataclass(frozen=True)
class Parameter:
    """A constant of any shape, whose values do not matter to the expression."""


Pattern: TypeAlias = Op | OneOf | Shared | Computed | Number | Parameter | str
"""A str is the name of a tensor that may be any, the same wherever the name stands."""


@dataclass(frozen=True)
class Match:
    """Where a pattern was found.

    Attributes:
        tensors: those with names.
        fixed: nodes that read a `Number`, whose value is what makes the expression what it is.
        free: nodes that read a `Parameter`.
    """

    tensors: dict[str, OnnxValue] = field(default_factory=dict)
    fixed: frozenset[OnnxNode] = frozenset()
    free: frozenset[OnnxNode] = frozenset()


def find(root: OnnxValue, pattern: Pattern, constants: OnnxConstants) -> Match | None:
    """The pattern with this tensor as its result; every tensor inside it has no other reader.

    Args:
        root: the result.
        pattern: what makes it.
        constants: of the model.
    """
    return next(_Finder(constants).find(root, pattern, Match(), reader=None), None)


@dataclass(frozen=True)
class _Finder:
    constants: OnnxConstants

    def find(self, value: OnnxValue, pattern: Pattern, match: Match, reader: OnnxNode | None) -> Iterator[Match]:
        """All ways in which a pattern can go on from a match, of which `reader` reads the tensor."""
        match pattern:
            case str():
                yield from _bound(pattern, value, match)
            case Computed():
                yield from self._computed(value, pattern, match)
            case Shared():
                yield from self._shared(value, pattern, match)
            case OneOf():
                for option in pattern.patterns:
                    yield from self.find(value, option, match, reader)
            case Op():
                if reader is None or (len(value.readers) == 1 and not value.is_output):
                    yield from self._operator(value, pattern, match)
            case Number() | Parameter():
                if reader is not None:
                    yield from self._constant(value, pattern, match, reader)

    def _computed(self, value: OnnxValue, pattern: Computed, match: Match) -> Iterator[Match]:
        if isinstance(self.constants.read(value), Refusal):
            yield from _bound(pattern.name, value, match)

    def _constant(
        self, value: OnnxValue, pattern: Number | Parameter, match: Match, reader: OnnxNode
    ) -> Iterator[Match]:
        if isinstance(pattern, Number):
            if self._is_number(value, pattern):
                yield replace(match, fixed=match.fixed | {reader})
        elif not isinstance(self.constants.read(value), Refusal):
            yield replace(match, free=match.free | {reader})

    def _shared(self, value: OnnxValue, pattern: Shared, match: Match) -> Iterator[Match]:
        if pattern.name in match.tensors:
            yield from _bound(pattern.name, value, match)
        else:
            for bound in _bound(pattern.name, value, match):
                yield from self.find(value, pattern.pattern, bound, reader=None)

    def _operator(self, value: OnnxValue, pattern: Op, match: Match) -> Iterator[Match]:
        node = value.producer
        if node is None or not node.is_standard or node.proto.op_type not in pattern.types or value.is_input:
            return
        if pattern.limits is not None and not self._has_limits(node, *pattern.limits):
            return
        for operands in _orders(node):
            if len(operands) >= len(pattern.operands):
                yield from self._all(node, operands, pattern.operands, match)

    def _all(
        self, node: OnnxNode, operands: Sequence[OnnxValue | None], patterns: Sequence[Pattern], match: Match
    ) -> Iterator[Match]:
        if not patterns:
            yield match
            return
        first = operands[0]
        if first is not None:
            for found in self.find(first, patterns[0], match, node):
                yield from self._all(node, operands[1:], patterns[1:], found)

    def _has_limits(self, node: OnnxNode, lowest: float, highest: float) -> bool:
        """Source: ONNX Clip-6 (attributes), -11 to -13 (inputs)."""
        if node.opset < _FIRST_WITH_LIMITS_AS_INPUTS:
            found = [attribute(node, name, None) for name in ("min", "max")]
            return found == [lowest, highest]
        limits = node.inputs[1:3]
        expected = (Number(lowest), Number(highest))
        return len(limits) == len(expected) and all(
            value is not None and self._is_number(value, number) for value, number in zip(limits, expected, strict=True)
        )

    def _is_number(self, value: OnnxValue, pattern: Number) -> bool:
        if value.shape is None or any(length != 1 for length in value.shape):
            return False
        stored = self.constants.read(value)
        if isinstance(stored, Refusal) or stored.size != 1:
            return False
        return pattern.value is None or math.isclose(float(stored.reshape(-1)[0]), pattern.value, rel_tol=_DIGITS)


def _bound(name: str, value: OnnxValue, match: Match) -> Iterator[Match]:
    if match.tensors.get(name, value) is value:
        yield replace(match, tensors={**match.tensors, name: value})


def _orders(node: OnnxNode) -> Iterator[Sequence[OnnxValue | None]]:
    if node.traits.commutative and len(node.inputs) == 2:  # more are no valid node
        yield from permutations(node.inputs)
    else:
        yield node.inputs
