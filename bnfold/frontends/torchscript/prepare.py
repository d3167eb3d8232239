"""A private copy of a ScriptModule, its methods inlined and fixed to inference: what is read and later rewritten."""

from dataclasses import dataclass
from typing import Any

import torch

from bnfold.errors import UnsupportedModelError
from bnfold.frontends.torchscript.file import duplicate, refuse_outside_reach
from bnfold.frontends.torchscript.ir import (
    Attributes,
    CallGraph,
    IrGraph,
    IrNode,
    IrValue,
    Method,
    ModuleObject,
    Reach,
    all_nodes,
    methods_of,
    names_set,
)

_DROPOUTS = frozenset(
    f"aten::{name}" for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)
_LOOKS_UP = frozenset({"aten::__contains__", "aten::__getitem__", "aten::len"})


@dataclass(frozen=True)
class Prepared:
    """A copy of a module that nobody else sees.

    Attributes:
        module: the copy. Methods that forward does not call are inlined, and so is forward, fixed to inference.
        graph: of forward, with all that it calls.
        reach: what forward called before it was inlined.
    """

    module: torch.jit.ScriptModule
    graph: IrGraph
    reach: Reach

    @property
    def root(self) -> ModuleObject:
        """The module without the Python around it."""
        return self.module._c


def prepare(module: torch.jit.ScriptModule, *, assume_inference: bool = False) -> Prepared:
    """Copy a module and make its forward one graph without calls.

    Args:
        module: left as it is.
        assume_inference: put the copy into evaluation mode first.

    Raises:
        UnsupportedModelError: it has no forward, or its code reaches files or the network.
    """
    copy = duplicate(module)
    if assume_inference:
        copy.eval()
    root = copy._c
    if not root._has_method("forward"):
        raise UnsupportedModelError(f"has no forward: its methods are {', '.join(root._method_names()) or 'none'}")
    refuse_outside_reach(root)
    forward = Method(root, "forward")
    reach = CallGraph().reach(forward)
    for method in methods_of(root):
        if method.owner == root or method not in reach.methods:
            torch._C._jit_pass_inline(method.graph)
    graph = forward.graph
    fix_to_inference(graph, root)
    return Prepared(copy, graph, reach)


def fix_to_inference(graph: IrGraph, root: ModuleObject) -> None:
    """Read `self.training` and other plain attributes once and for all, so that branches on them become straight code.

    Args:
        graph: inlined; its first input is `root`.
        root: the module. Where it is in training mode, that is what is fixed.

    Raises:
        UnsupportedModelError: it compares enumerations that are not constants.
    """
    attributes = Attributes(root, graph)
    set_somewhere = names_set(root)
    for node in list(all_nodes(graph)):
        if node.kind() == "prim::GetAttr" and node.s("name") not in set_somewhere:
            _read_switch(graph, node, attributes)
    for node in list(all_nodes(graph)):
        if node.kind() in ("aten::eq", "aten::ne") and any(map(_is_enum, node.inputs())):
            _read_comparison_of_enums(graph, node, attributes, set_somewhere)
    changed = set_somewhere | _tables_used_otherwise(root)
    for node in list(all_nodes(graph)):
        if node.kind() == "aten::__contains__":
            _read_lookup(graph, node, attributes, changed)
    _drop_idle_dropouts(graph)
    passes: Any = torch._C
    passes._jit_pass_constant_propagation_immutable_types(graph)
    passes._jit_pass_dce(graph)


def _read_switch(graph: IrGraph, node: IrNode, attributes: Attributes) -> None:
    """Replace an attribute that is a truth value, a number or a text by its value."""
    attribute = attributes.at(node)
    if attribute is not None and isinstance(attribute.value, (bool, int, float, str)):
        _replace(graph, node, attribute.value)


def _read_comparison_of_enums(graph: IrGraph, node: IrNode, attributes: Attributes, set_somewhere: set[str]) -> None:
    """Replace a comparison of constant enumerations by its value.

    torch has no registered operator for it, and its own passes stop at it with an internal error.
    """

    def known(value: IrValue) -> object:
        attribute = attributes.behind(value)
        if attribute is None or attribute.name in set_somewhere:
            return value.toIValue()
        return attribute.value

    left, right = map(known, node.inputs())
    if left is None or right is None:
        raise UnsupportedModelError(
            "compares enumerations at run time, which torch's own passes cannot read: trace it or export it instead"
        )
    _replace(graph, node, (left == right) == (node.kind() == "aten::eq"))
    node.destroy()


def _read_lookup(graph: IrGraph, node: IrNode, attributes: Attributes, changed: set[str]) -> None:
    """Replace `key in self.table` by its value, where nobody changes the table: layers are collected so."""
    attribute, key = attributes.behind(node.inputsAt(0)), node.inputsAt(1).toIValue()
    table = None if attribute is None or attribute.name in changed else attribute.value
    if isinstance(table, dict) and isinstance(key, (str, int)):
        _replace(graph, node, key in table)
        node.destroy()


def _tables_used_otherwise(root: ModuleObject) -> set[str]:
    """Names of the attributes that are dicts, and with which some method does more than look something up."""
    nodes = (node for method in methods_of(root) for node in all_nodes(method.graph))
    tables = (node for node in nodes if node.kind() == "prim::GetAttr" and node.output().type().kind() == "DictType")
    return {
        node.s("name")
        for node in tables
        if any(use.offset != 0 or use.user.kind() not in _LOOKS_UP for use in node.output().uses())
    }


def _is_enum(value: IrValue) -> bool:
    return bool(value.type().kind() == "EnumType")


def _replace(graph: IrGraph, node: IrNode, constant: object) -> None:
    with graph.insert_point_guard(node):
        node.output().replaceAllUsesWith(graph.insertConstant(constant))


def _drop_idle_dropouts(graph: IrGraph) -> None:
    """Take out every dropout in inference: it gives back the very tensor that it was given.

    torch's own passes do not know that. They believe that it makes a new one, and take out what writes to that.
    """
    for node in list(all_nodes(graph)):
        if node.kind().removesuffix("_") in _DROPOUTS and node.inputsAt(2).toIValue() is False:
            node.output().replaceAllUsesWith(node.inputsAt(0))
            node.destroy()
