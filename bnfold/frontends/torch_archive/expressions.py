"""Symbolic sizes and conditions on inputs, which torch evaluates as Python: arithmetic that soon ends, or nothing.

A size is written as sympy's srepr does it ("Mul(Integer(2), Symbol('s77', positive=True))"), a condition as Python
("L['x'].size()[0] >= 2"). Arithmetic can take for ever too: a tower of powers, or a product of sums that is multiplied
out. So numbers are bounded by their bits, polynomials by degree and number of terms.
"""

import ast
import re
from collections.abc import Iterable
from typing import NamedTuple

from bnfold.errors import UnsupportedModelError

_NOTHING_RUN = "nothing in it was executed"

_LONGEST, _MOST_NODES, _DEEPEST = 4_000, 400, 30
_MOST_BITS, _MOST_DEGREE, _MOST_TERMS, _MOST_POWER = 256, 24, 200, 8

_SYMBOL = re.compile(r"[a-z]{1,4}\d{1,5}", re.ASCII)
_CONSTANTS = frozenset({"true", "false", "True", "False", "oo", "int_oo"})
_ASSUMPTIONS = frozenset(
    """
    commutative complex extended_real finite hermitian imaginary infinite integer negative nonnegative
    nonpositive nonzero positive rational real zero evaluate
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,3})?", re.ASCII)

_SUMS = frozenset({"Add", "And", "Or"})
_PRODUCTS = frozenset({"Mul"})
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
# The rest: what they give is a term of its own.
_FUNCTIONS = frozenset(
    """
    Abs CeilDiv CeilToInt CleanDiv Eq Equality FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt Identity
    IntTrueDiv Le LessThan Lt Max Min Mod ModularIndexing Ne Not PythonMod RShift RoundDecimal RoundToInt
    StrictGreaterThan StrictLessThan ToFloat TruncToFloat TruncToInt Unequality Where abs ceiling floor int
    float len max min round
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
_LEAVES = frozenset({"Integer", "Float", "Rational", "Symbol"})
_OF_TENSORS = frozenset({"dim", "item", "ndim", "numel", "size", "storage_offset", "stride", "shape"})
_OF_MATH = frozenset({"ceil", "floor", "trunc", "sqrt"})
_KEY = re.compile(r"[\w.\- ]{1,200}")

_SUM_OPERATORS = (ast.Add, ast.Sub, ast.BitAnd, ast.BitOr)
_DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod, ast.RShift)


class _Extent(NamedTuple):
    """How large an expression can get: bits of its numbers, degree in its symbols, terms when multiplied out."""

    bits: int
    degree: int
    terms: int


_TERM = _Extent(0, 1, 1)


class _NotPlainError(Exception):
    """An expression is more than arithmetic, or too much of it."""


def check_size(text: object) -> None:
    """A symbolic size.

    Raises:
        UnsupportedModelError: it is more than arithmetic, or could take for ever.
    """
    try:
        _Reader(guards=False).measure(_parsed(text))
    except _NotPlainError as error:
        raise UnsupportedModelError(
            f"holds an expression that is more than arithmetic ({str(text)[:80]!r}): {_NOTHING_RUN}"
        ) from error


def plain_guard(text: object) -> str:
    """A condition on inputs, spelled anew.

    Raises:
        UnsupportedModelError: it is more than a comparison of sizes, or could take for ever.
    """
    try:
        tree = _parsed(text)
        _Reader(guards=True).measure(tree)
    except _NotPlainError as error:
        raise UnsupportedModelError(
            f"holds a condition that is more than arithmetic ({str(text)[:80]!r}): {_NOTHING_RUN}"
        ) from error
    return ast.unparse(tree)


def is_symbol(name: object) -> bool:
    """Whether it is the name of a symbolic size."""
    return isinstance(name, str) and _SYMBOL.fullmatch(name) is not None


def _parsed(text: object) -> ast.expr:
    if not isinstance(text, str) or len(text) > _LONGEST or not _is_shallow(text):
        raise _NotPlainError
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _NotPlainError from error
    if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
        raise _NotPlainError
    return tree


def _is_shallow(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth > _DEEPEST:
            return False
    return True


class _Reader:
    """Measures expressions.

    Args:
        guards: whether they are conditions, which read inputs, or sizes, which are made of symbols.
    """

    def __init__(self, *, guards: bool) -> None:
        self._guards = guards

    def measure(self, node: ast.expr, depth: int = 0) -> _Extent:
        """The extent of an expression.

        Raises:
            _NotPlainError: it is not plain, or larger than any that torch writes.
        """
        if depth > _DEEPEST:
            raise _NotPlainError
        extent = self._measure(node, depth + 1)
        if extent.bits > _MOST_BITS or extent.degree > _MOST_DEGREE or extent.terms > _MOST_TERMS:
            raise _NotPlainError
        return extent

    def _measure(self, node: ast.expr, depth: int) -> _Extent:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return _Extent(int(value).bit_length() if abs(value) < 2**_MOST_BITS else _MOST_BITS + 1, 0, 1)
            case ast.Name(id=name) if name in _CONSTANTS or (not self._guards and _SYMBOL.fullmatch(name)):
                return _TERM
            case ast.UnaryOp(operand=operand):
                return self.measure(operand, depth)
            case ast.BinOp(left=left, op=ast.Pow() | ast.LShift(), right=right):
                return self._power(left, right, depth)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._combined(operator, [self.measure(side, depth) for side in (left, right)])
            case ast.BoolOp() | ast.Compare() | ast.IfExp():
                parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
                return _sum([self.measure(part, depth) for part in parts])
            case ast.Call():
                return self._call(node, depth)
        if self._guards:
            return self._input(node, depth)
        raise _NotPlainError

    def _combined(self, operator: ast.operator, sides: list[_Extent]) -> _Extent:
        if isinstance(operator, _SUM_OPERATORS):
            return _sum(sides)
        if isinstance(operator, ast.Mult):
            return _product(sides)
        if isinstance(operator, _DIVISIONS):
            return _term(sides)
        raise _NotPlainError

    def _power(self, base: ast.expr, exponent: ast.expr, depth: int) -> _Extent:
        power = _integer(exponent)
        if abs(power) > _MOST_POWER:
            raise _NotPlainError
        return _product([self.measure(base, depth)] * max(1, abs(power)))

    def _call(self, node: ast.Call, depth: int) -> _Extent:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _LEAVES and not self._guards:
                return _leaf(name, node)
            case ast.Call(func=ast.Name(id=name), args=[base, exponent], keywords=[]) if name in _POWERS:
                return self._power(base, exponent, depth)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if _only_assumes(keywords):
                extents = [self.measure(argument, depth) for argument in arguments]
                return _called(name, extents)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr=name), args=[only], keywords=[]):
                if self._guards and name in _OF_MATH:
                    return _term([self.measure(only, depth)])
        if self._guards:
            return self._input(node, depth)
        raise _NotPlainError

    def _input(self, node: ast.expr, depth: int) -> _Extent:
        """Something of an input: L['x'], a part of it, a size of it."""
        if depth > _DEEPEST:
            raise _NotPlainError
        match node:
            case ast.Name(id="L"):
                return _TERM
            case ast.Subscript(value=value, slice=ast.Constant(value=int())):
                return self._input(value, depth + 1)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))) if _KEY.fullmatch(key):
                return self._input(value, depth + 1)
            case ast.Attribute(value=value, attr=name) if name in _OF_TENSORS:
                return self._input(value, depth + 1)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments, keywords=[]):
                if name in _OF_TENSORS and all(isinstance(argument, ast.Constant) for argument in arguments):
                    return self._input(value, depth + 1)
        raise _NotPlainError


def _called(name: str, extents: list[_Extent]) -> _Extent:
    if name in _SUMS:
        return _sum(extents)
    if name in _PRODUCTS:
        return _product(extents)
    if name in _FUNCTIONS:
        return _term(extents)
    raise _NotPlainError


def _leaf(name: str, node: ast.Call) -> _Extent:
    """A symbol or a number, in sympy's own words."""
    values = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
    if name == "Symbol":
        if len(values) == 1 and is_symbol(values[0]) and _only_assumes(node.keywords):
            return _TERM
        raise _NotPlainError
    if name == "Float":
        keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        if len(values) == 1 and keywords.keys() <= {"precision", "dps"} and _is_precise(keywords.values()):
            return _Extent(64, 0, 1) if _NUMBER.fullmatch(str(values[0])) else _none()
        raise _NotPlainError
    numbers = [_integer(argument) for argument in node.args]
    if node.keywords or len(numbers) != (1 if name == "Integer" else 2) or 0 in numbers[1:]:
        raise _NotPlainError
    return _Extent(max(number.bit_length() for number in numbers), 0, 1)


def _none() -> _Extent:
    raise _NotPlainError


def _is_precise(values: Iterable[object]) -> bool:
    return all(isinstance(value, int) and type(value) is int and 0 < value <= 64 for value in values)


def _only_assumes(keywords: list[ast.keyword]) -> bool:
    return all(
        keyword.arg in _ASSUMPTIONS
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, bool)
        for keyword in keywords
    )


def _integer(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_integer(operand)
        case ast.Call(func=ast.Name(id="Integer"), args=[only], keywords=[]):
            return _integer(only)
    raise _NotPlainError


def _sum(parts: list[_Extent]) -> _Extent:
    return _Extent(
        max((part.bits for part in parts), default=0) + len(parts).bit_length(),
        max((part.degree for part in parts), default=0),
        sum(part.terms for part in parts),
    )


def _product(parts: list[_Extent]) -> _Extent:
    terms = 1
    for part in parts:
        terms = min(terms * part.terms, _MOST_TERMS + 1)
    return _Extent(sum(part.bits for part in parts), sum(part.degree for part in parts), terms)


def _term(parts: list[_Extent]) -> _Extent:
    if len(parts) > _MOST_POWER:
        raise _NotPlainError
    return _Extent(max((part.bits for part in parts), default=0), max((part.degree for part in parts), default=0), 1)
