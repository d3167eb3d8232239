"""Attributes of a node by name, as Python values."""

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy as np
import onnx
import onnx.helper

from bnfold.frontends.common.einsum import Equation, parse_equation
from bnfold.frontends.onnx.graph import OnnxNode

DEFAULT_EPSILON = float(np.float32(1e-5))
"""The default of every epsilon attribute, as a file stores it: attributes are float32."""


_Value = TypeVar("_Value", int, float, bytes)


class ReferenceAttributeError(ValueError):
    """The attribute of a node in a function body takes its value from the caller."""


@overload
def attribute(node: OnnxNode, name: str, default: tuple[()]) -> Sequence[int]: ...
@overload
def attribute(node: OnnxNode, name: str, default: None) -> Any: ...  # noqa: ANN401 - the file's choice
@overload
def attribute(node: OnnxNode, name: str, default: _Value) -> _Value: ...
def attribute(node: OnnxNode, name: str, default: object) -> object:
    """The value of an attribute, or the default where the node does not have it.

    Args:
        node: the node.
        name: of the attribute.
        default: as the operator's specification says, which says the type as well.

    Raises:
        ReferenceAttributeError: its value is known only where the function is called.
    """
    for entry in node.proto.attribute:
        if entry.name == name:
            if entry.ref_attr_name:
                raise ReferenceAttributeError(f"attribute {name!r} is given by the caller of the function")
            return onnx.helper.get_attribute_value(entry)
    return default


def equation(node: OnnxNode) -> Equation:
    """The equation of an Einsum."""
    return parse_equation(attribute(node, "equation", b"").decode())


def set_float_attribute(proto: onnx.NodeProto, name: str, value: float | Sequence[float]) -> None:
    """Give a float attribute that the node already has another value; where it has none, add nothing."""
    for entry in proto.attribute:
        if entry.name != name:
            continue
        if isinstance(value, Sequence):
            entry.floats[:] = value
        else:
            entry.f = value


def set_int_attribute(proto: onnx.NodeProto, name: str, value: int | Sequence[int] | None) -> None:
    """Give an attribute of an integer or of several another value, whether the node has it or not; None removes it."""
    old = next((place for place, entry in enumerate(proto.attribute) if entry.name == name), None)
    if value is None:
        if old is not None:
            del proto.attribute[old]
        return
    new = onnx.helper.make_attribute(name, value)
    if old is None:
        proto.attribute.append(new)
    else:
        proto.attribute[old].CopyFrom(new)
