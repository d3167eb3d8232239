"""What a decoder or an encoder may ask about the node in its hands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from bnfold.frontends.common.undecodable import Undecodable, known_parameter
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constant_ops import AnyArray, is_float
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape
from bnfold.frontends.onnx.lost_ranks import unknown_rank
from bnfold.refusal import Reason, Refusal
from bnfold.weight import Weight

_Value = TypeVar("_Value", int, float, bytes)


@dataclass(frozen=True)
class OnnxContext:
    """A node and the constants of its model.

    A question that the node does not answer raises Undecodable, with the reason that a report then gives. Slots count
    inputs from 0; shapes have a number, a name or None for each axis.
    """

    node: OnnxNode
    constants: OnnxConstants

    @overload
    def attribute(self, name: str, default: tuple[()]) -> Sequence[int]: ...
    @overload
    def attribute(self, name: str, default: None) -> Any: ...  # noqa: ANN401 - the file's choice
    @overload
    def attribute(self, name: str, default: _Value) -> _Value: ...
    def attribute(self, name: str, default: Any) -> object:
        """The value of an attribute, or the default; see `bnfold.frontends.onnx.attributes.attribute`."""
        return attribute(self.node, name, default)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A list of floats among the attributes, before the rounding of any fold; none where it is absent."""
        return self.constants.numbers(self.node, name)

    def input(self, slot: int) -> OnnxValue | None:
        """The tensor at an input; None where it is absent."""
        return self.node.inputs[slot] if slot < len(self.node.inputs) else None

    def required(self, slot: int) -> OnnxValue:
        """The tensor at an input that the operator's specification requires (MALFORMED where it is absent)."""
        value = self.input(slot)
        if value is None:
            raise Undecodable(Reason.MALFORMED, f"{self.node.op} needs input {slot}, which is absent")
        return value

    def parameter(self, slot: int, *, dynamic: Reason) -> npt.NDArray[np.float64]:
        """The values of a constant input, float64.

        Args:
            slot: index of the input.
            dynamic: the reason to give where the input is not a constant.
        """
        return known_parameter(self.constants.read_exact(self.required(slot)), dynamic=dynamic)

    def weight(self, slot: int) -> AnyArray:
        """The values of a constant weight, which may be large, in the floating-point type in which it is stored."""
        return known_parameter(self.constants.read_as_stored(self.required(slot)), dynamic=Reason.DYNAMIC_WEIGHT)

    def folded_weight(self, slot: int) -> Weight | None:
        """What folding has made of a weight, in the layout of its meaning and not multiplied out; None before that.

        No operator of another layout reads it: a constant that has other readers is not changed, but copied.
        """
        return self.constants.folded_weight(self.required(slot))

    def constant(self, slot: int) -> npt.NDArray[np.float64] | None:
        """The values of an input, float64; None where it is no constant of floating-point numbers."""
        values = self.constants.read_exact(self.required(slot))
        return None if isinstance(values, Refusal) else values

    def require_float(self, slot: int) -> None:
        """Refuse a constant input of integers (NOT_LINEAR), for operators that take integers as well."""
        value = self.required(slot)
        if self.constants.why_unknown(value) is None and not is_float(self.constants.dtype_of(value)):
            what = f"{value.name!r} is {self.constants.dtype_of(value)}"
            raise Undecodable(Reason.NOT_LINEAR, f"{what}: a map of integers is no scale and shift")

    def optional_parameter(self, slot: int, *, dynamic: Reason) -> npt.NDArray[np.float64] | None:
        """As `parameter`; None where the input is absent."""
        return None if self.input(slot) is None else self.parameter(slot, dynamic=dynamic)

    def shape(self, slot: int) -> Shape:
        """The shape of an input (UNKNOWN_SHAPE where not even its rank is known)."""
        value = self.required(slot)
        if value.shape is None:
            raise unknown_rank(value)
        return value.shape

    def output_shape(self) -> Shape:
        """The shape of the first output (UNKNOWN_SHAPE where not even its rank is known)."""
        value = self.node.outputs[0]
        if value is None or value.shape is None:
            raise Undecodable(Reason.UNKNOWN_SHAPE, "the rank of its output is not known before run time")
        return value.shape

    def integers(self, slot: int) -> list[int]:
        """A constant input of integers, such as axes or pads (UNKNOWN_SHAPE where it is computed at run time)."""
        values = self.constants.read(self.required(slot))
        if isinstance(values, Refusal):
            raise Undecodable(Reason.UNKNOWN_SHAPE, f"input {slot} is not known before run time: {values.evidence}")
        return [int(value) for value in values.reshape(-1).tolist()]

    def optional_integers(self, slot: int) -> list[int] | None:
        """As `integers`; None where the input is absent."""
        return None if self.input(slot) is None else self.integers(slot)

    def axes(self) -> list[int] | None:
        """Axes from input 1 or, in older versions of the operators, from an attribute; None where neither is given."""
        given = self.attribute("axes", None)
        return self.optional_integers(1) if given is None else list(given)
