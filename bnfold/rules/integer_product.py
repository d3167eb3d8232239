"""Products with weights of integers: what is behind them they take as norms do; nothing goes in from the front."""

from collections.abc import Mapping

from bnfold.affine import Affine
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import IntegerProduct


def push_into_integer_product(node: IntegerProduct, _inputs: Mapping[int, Affine]) -> Refusal:
    """What is in front of a product of integers meets a rounding, or a scale for many inputs at once.

    Before::  x -- map -- n -- scale a, bias b -- y
    After::   no other
    Law:      round(s * x + t) is no map of round(x); the integers of one block of inputs have one scale
    Shapes:   any
    Refuses:  NOT_LINEAR: x is rounded to integers; QUANTIZED: the weight has one scale for each block of inputs
    Source:   com.microsoft DynamicQuantizeMatMul-1, MatMulIntegerToFloat-1, MatMulNBits-1, MatMulBnb4-1
    """
    if node.rounds:
        return Refusal(Reason.NOT_LINEAR, "the operator rounds what it reads to integers, or reads such")
    return Refusal(Reason.QUANTIZED, "the integers of the weight have one scale for each block of inputs")
