"""Einsums of one activation and one constant matrix."""

from dataclasses import dataclass

from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import Contraction
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
