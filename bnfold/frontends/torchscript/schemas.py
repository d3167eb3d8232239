"""What torch's schemas say of the operators of a TorchScript graph: names, arguments, effects, which overload fits."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.aten.schema import MemoryEffects
from bnfold.frontends.torchscript.ir import IrNode, IrSchema

# Without schemas, and without effects on the tensors in what they are given.
_HARMLESS = frozenset(
    f"prim::{name}"
    for name in """
    CreateObject DictConstruct EnumName EnumValue GetAttr ListConstruct ListUnpack Print RaiseException SetAttr
    TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized isinstance tolist unchecked_cast
    """.split()  # noqa: SIM905 - a list of strings would take twenty lines
)


def schema_of(node: IrNode) -> IrSchema | None:
    """The schema of a node; None where its operator has none."""
    text = node.schema()
    return None if text == "(no schema)" else torch._C.parse_schema(text)


def operator_name(node: IrNode, schema: IrSchema | None) -> str:
    """The operator; arithmetic on numbers and lists is called by its overload, so that nobody takes it for tensors'."""
    kind = str(node.kind())
    if (
        schema is None
        or not operator_of(kind).may_be_affine
        or any(str(result.type) == "Tensor" for result in schema.returns)
    ):
        return kind
    return f"{kind}.{schema.overload_name}"


def argument_names(node: IrNode, schema: IrSchema | None) -> Iterator[str]:
    """Names of its arguments; numbered ones where the schema does not say them all."""
    count = node.inputsSize()
    known = [] if schema is None else [argument.name for argument in schema.arguments]
    return iter(known if len(known) == count else [f"input_{index}" for index in range(count)])


def effects_without_schema(node: IrNode, names: frozenset[str]) -> MemoryEffects:
    """Of an operator without a schema: its results may show all that it is given; some may also write to it.

    Args:
        node: the operator.
        names: of its arguments, as `argument_names` gives them.
    """
    return MemoryEffects(frozenset() if node.kind() in _HARMLESS else names, names)


def input_index(node: IrNode, name: str) -> int:
    """Where a node takes the argument of this name."""
    schema = torch._C.parse_schema(node.schema())
    return [argument.name for argument in schema.arguments].index(name)


def schema_for(op: str, arguments: Mapping[str, Any]) -> IrSchema:
    """The overload of an operator that takes these arguments: those that it lacks have defaults.

    Args:
        op: qualified name without overload.
        arguments: by name; torch._C.Value for tensors, constants else.

    Raises:
        InternalError: there is none.
    """
    for schema in torch._C._jit_get_schemas_for_operator(op):
        known = {argument.name: argument for argument in schema.arguments}
        if set(arguments) <= set(known) and all(
            _takes(entry, arguments[name]) if name in arguments else entry.has_default_value()
            for name, entry in known.items()
        ):
            return schema
    raise InternalError(f"torch {torch.__version__} has no {op} that takes {', '.join(arguments)}")


def _takes(entry: Any, argument: object) -> bool:  # noqa: ANN401 - torch has no public name for it
    type_ = str(entry.type)
    if isinstance(argument, torch._C.Value):
        return type_ == str(argument.type()) or (argument.type().kind() == "TensorType" and "Tensor" in type_)
    if isinstance(argument, (int, float)):
        return "Tensor" not in type_
    return True
