"""New nodes of a TorchScript graph: constants, lists, tensors that modules hold, and operators."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrGraph, IrNode, IrValue, ModuleObject
from bnfold.frontends.torchscript.schemas import schema_for


def insert_constant(graph: IrGraph, before: IrNode, constant: object) -> IrValue:
    """A constant that stands before a node."""
    with graph.insert_point_guard(before):
        return graph.insertConstant(constant)


def insert_list(graph: IrGraph, before: IrNode, elements: Sequence[IrValue]) -> IrValue:
    """A list of tensors that stands before a node."""
    node = graph.create("prim::ListConstruct", list(elements))
    node.output().setType(torch._C.ListType.ofTensors())
    return node.insertBefore(before).output()


def insert_attribute(graph: IrGraph, before: IrNode, root: ModuleObject, path: Sequence[str], name: str) -> IrValue:
    """Read a tensor that a module holds, before a node.

    Args:
        graph: its first input is the top module.
        before: the node.
        root: the top module.
        path: names from the top module to the one that holds the tensor.
        name: of the tensor.
    """
    value, module = next(iter(graph.inputs())), root
    for step in path:
        module = module.getattr(step)
        value = _get(graph, before, value, step, module._type())
    return _get(graph, before, value, name, torch._C.TensorType.get())


def _get(graph: IrGraph, before: IrNode, owner: IrValue, name: str, type_: object) -> IrValue:
    node = graph.create("prim::GetAttr", [owner])
    node.s_("name", name)
    node.output().setType(type_)
    return node.insertBefore(before).output()


def insert_operator(graph: IrGraph, after: IrNode, op: str, arguments: Mapping[str, Any]) -> IrNode:
    """An operator with one tensor as its result, behind a node; constants it needs stand before that node.

    Args:
        graph: the graph.
        after: the node.
        op: qualified name without overload.
        arguments: by name, those left out have their defaults.
    """
    schema = schema_for(op, arguments)
    inputs = []
    for entry in schema.arguments:
        argument = arguments.get(entry.name, entry.default_value)
        is_there = isinstance(argument, torch._C.Value)
        inputs.append(argument if is_there else insert_constant(graph, after, argument))
    node = graph.create(op, inputs)
    node.output().setType(torch._C.TensorType.get())
    node.insertAfter(after)
    node.copyMetadata(after)
    return node
