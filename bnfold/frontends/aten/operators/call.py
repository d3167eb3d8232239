"""What a decoder or an encoder may ask about the node in its hands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bnfold.affine import Array
from bnfold.frontends.aten.constants import AtenConstants, is_float
from bnfold.frontends.aten.node import UNKNOWN, Argument, AtenNode, AtenValue, Shape
from bnfold.frontends.common.undecodable import Undecodable, known_parameter, malformed
from bnfold.refusal import Reason, Refusal


@dataclass(frozen=True)
class AtenCall:
    """A node and the constants of its program.

    Arguments are asked for by their names in torch's schema; defaults are filled in. A question that the node does not
    answer raises Undecodable, with the reason that a report then gives.
    """

    node: AtenNode
    constants: AtenConstants

    def has(self, name: str) -> bool:
        """Whether an argument is there and not None."""
        return self.node.arguments.get(name) is not None

    def value(self, name: str) -> AtenValue:
        """An argument that is a tensor (MALFORMED where it is not)."""
        argument = self.node.arguments.get(name)
        if not isinstance(argument, AtenValue):
            raise malformed(f"{self.node.op} has no tensor {name!r}, but {argument!r}")
        return argument

    def values(self, name: str) -> list[AtenValue]:
        """An argument that is a list of tensors (UNKNOWN_OPERATOR where the list is made at run time)."""
        argument = self.node.arguments.get(name)
        if not isinstance(argument, (list, tuple)) or any(not isinstance(element, AtenValue) for element in argument):
            raise Undecodable(Reason.UNKNOWN_OPERATOR, f"the list {name!r} of {self.node.op} is made at run time")
        return list(argument)

    def source(self, name: str) -> int:
        """Index of the tensor of an argument among the node's inputs."""
        return self.node.slots.index((name, None))

    def fixed(self, name: str) -> Any:  # noqa: ANN401 - whatever the schema says
        """A number, a flag, a list of numbers or None (UNKNOWN_SHAPE where it is computed at run time)."""
        argument = self.node.arguments.get(name)
        elements = argument if isinstance(argument, (list, tuple)) else [argument]
        if any(isinstance(element, AtenValue) or element is UNKNOWN for element in elements):
            raise Undecodable(Reason.UNKNOWN_SHAPE, f"{name!r} of {self.node.op} is not known before run time")
        return argument

    def parameter(self, name: str, *, dynamic: Reason) -> Array:
        """The values of a constant tensor, float64.

        Args:
            name: of the argument.
            dynamic: the reason to give where it is not a constant.
        """
        return self.parameter_at(self.value(name), dynamic=dynamic)

    def parameter_at(self, value: AtenValue, *, dynamic: Reason) -> Array:
        """As `parameter`, of a tensor and not of an argument."""
        return known_parameter(self.constants.read_exact(value), dynamic=dynamic)

    def optional_parameter(self, name: str, *, dynamic: Reason) -> Array | None:
        """As `parameter`; None where the argument is None."""
        return self.parameter(name, dynamic=dynamic) if self.has(name) else None

    def is_constant(self, argument: Argument) -> bool:
        """Whether an argument is a number or a constant tensor, also one whose values cannot be folded."""
        if not isinstance(argument, AtenValue):
            return True
        answer = self.constants.read(argument)
        return not isinstance(answer, Refusal) or answer.reason is not Reason.DYNAMIC_PARAMETER

    def shape(self, name: str) -> Shape:
        """The shape of an argument (UNKNOWN_SHAPE where not even its rank is known)."""
        return known_shape(self.value(name))

    def output_shape(self) -> Shape:
        """The shape of the first output (UNKNOWN_SHAPE where not even its rank is known)."""
        value = self.node.outputs[0]
        if value is None:
            raise malformed(f"nothing holds the output of {self.node.op}")
        return known_shape(value)

    def require_parts(self) -> None:
        """Refuse a node whose list of results is passed on as a whole (UNKNOWN_OPERATOR)."""
        if any(value is not None and value.dtype is None for value in self.node.outputs):
            raise Undecodable(Reason.UNKNOWN_OPERATOR, f"the parts of {self.node.op} are passed on as one list")

    def axis(self, name: str, rank: int) -> int:
        """An argument that is an axis, counted from 0; negative ones from the end of the rank."""
        return int(self.fixed(name)) % max(rank, 1)

    def axes(self, name: str, rank: int) -> tuple[int, ...] | None:
        """An argument that is one axis or several: counted from 0, sorted, each once; None where it is None."""
        given = self.fixed(name)
        if given is None:
            return None
        several: Sequence[int] = given if isinstance(given, (list, tuple)) else [given]
        return tuple(sorted({int(axis) % max(rank, 1) for axis in several}))

    def require_float(self, *values: AtenValue) -> None:
        """Refuse tensors and a result that are not all of one floating-point type (NOT_LINEAR)."""
        types = {value.dtype for value in (*values, *self.node.outputs[:1]) if value is not None}
        if len(types - {None}) > 1:
            names = ", ".join(sorted(str(dtype) for dtype in types))
            raise Undecodable(Reason.NOT_LINEAR, f"{self.node.op} mixes the types {names}")
        wrong = [dtype for dtype in types if dtype is not None and not is_float(dtype)]
        if wrong:
            raise Undecodable(Reason.NOT_LINEAR, f"{self.node.op} computes with {wrong[0]}")


def known_shape(value: AtenValue) -> Shape:
    """The shape of a tensor whose rank must be known."""
    if value.shape is None:
        raise Undecodable(Reason.UNKNOWN_SHAPE, f"the rank of {value.name!r} is not known before run time")
    return value.shape
