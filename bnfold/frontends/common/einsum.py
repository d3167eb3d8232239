"""Einsums of one activation and one constant matrix, or of two activations."""

from dataclasses import dataclass

from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.products import lengths_of
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.regrouping import Dim
from bnfold.semantics import Contraction, Factor
from bnfold.weight import Weight


@dataclass(frozen=True)
class Equation:
    """What an einsum computes, as letters for axes.

    Attributes:
        operands: the letters of each operand.
        result: those of the result; "" where the equation does not name it.
    """

    operands: tuple[str, ...]
    result: str

    def __str__(self) -> str:
        return f"{','.join(self.operands)}->{self.result}"

    @property
    def joins_two(self) -> bool:
        """Whether it has two operands and names every axis, also those of the result."""
        return bool(self.result) and len(self.operands) == 2 and "." not in str(self)

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """Which axis of the one operand each of the result is; None where there are several, or it does more."""
        (letters, *others), result = self.operands, self.result
        if others or "." in str(self) or sorted(letters) != sorted(result) or len(set(letters)) != len(letters):
            return None
        return tuple(letters.index(letter) for letter in result)

    def has_outputs_first(self, slot: int) -> bool:
        """Whether the matrix at this place is stored as (outputs, inputs)."""
        return self.operands[slot][0] in self.result


def parse_equation(text: str) -> Equation:
    """Read an equation, with or without a result and blanks."""
    operands, _, result = text.replace(" ", "").partition("->")
    return Equation(tuple(operands.split(",")), result)


def read_einsum(equation: Equation, slot: int, matrix: AnyArray, *, operator: str) -> Contraction:
    """The contraction of an einsum of two operands.

    Args:
        equation: what it computes.
        slot: place of the constant, 0 or 1.
        matrix: the constant.
        operator: its name, for the message.
    """
    result, weight, activation = equation.result, equation.operands[slot], equation.operands[1 - slot]
    outputs = [letter for letter in weight if letter in result and letter not in activation]
    inputs = [letter for letter in weight if letter in activation and letter not in result]
    if len(outputs) != 1 or len(inputs) != 1 or matrix.ndim != 2 or len(set(activation)) != len(activation):
        evidence = f"in {operator} {str(equation)!r} the constant is no matrix from inputs to outputs"
        raise Undecodable(Reason.WRONG_AXIS, evidence)
    return Contraction(
        Weight((matrix if weight[0] == outputs[0] else matrix.T)[None]),
        None,
        len(result),
        output_axis=result.index(outputs[0]),
        input_axis=activation.index(inputs[0]),
        holds_bias=False,
        source=1 - slot,
    )


def factors_of_einsum(equation: Equation, shapes: tuple[tuple[Dim, ...], ...]) -> tuple[Factor, Factor] | None:
    """The two factors of an einsum of activations; None where an axis is named twice.

    Args:
        equation: what it computes, with every axis named.
        shapes: of both operands.
    """
    result = equation.result
    if any(len(set(letters)) != len(letters) for letters in (*equation.operands, result)):
        return None
    left, right = (
        Factor(tuple(result.index(letter) if letter in result else None for letter in letters), lengths_of(shape))
        for letters, shape in zip(equation.operands, shapes, strict=True)
    )
    return left, right


def sums_rows(equation: Equation) -> bool:
    """Whether all that is summed is the last axis of the first operand, along the same of the second."""
    summed = {letter for letters in equation.operands for letter in letters if letter not in equation.result}
    return summed == {equation.operands[0][-1]} and summed <= set(equation.operands[1])
