"""A private copy of a ScriptModule, its methods inlined and fixed to inference: what is read and later rewritten."""

import io
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.errors import UnsupportedModelError
from bnfold.frontends.torch_archive.operators import reaches_outside
from bnfold.frontends.torchscript.attributes import Attributes
from bnfold.frontends.torchscript.ir import IrGraph, IrValue, ModuleObject, all_nodes
from bnfold.frontends.torchscript.methods import Bodies, Method, Reach, methods_of, modules_of
from bnfold.frontends.torchscript.storage import read_module, write_module

_DROPOUTS = frozenset(
    f"aten::{name}" for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)


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
    reach = Bodies().reach(forward)
    for module_object in modules_of(root):
        for method in methods_of(module_object):
            if module_object == root or method not in reach.methods:
                torch._C._jit_pass_inline(method.graph)
    graph = forward.graph
    fix_to_inference(graph, root)
    return Prepared(copy, graph, reach)


def duplicate(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The same module as a file would hold it: classes, parameters and code of its own."""
    buffer = io.BytesIO()
    write_module(module, buffer)
    buffer.seek(0)
    return read_module(buffer)


def refuse_outside_reach(root: ModuleObject) -> None:
    """Raise where any method of any module could touch files or the network.

    Raises:
        UnsupportedModelError: so it is.
    """
    methods = [method for module in modules_of(root) for method in methods_of(module)]
    graphs = {method.type_name + "." + method.name: method.owner._get_method(method.name) for method in methods}
    for name, method in graphs.items():
        kind = next((node.kind() for node in all_nodes(method.inlined_graph) if reaches_outside(node.kind())), None)
        if kind is not None:
            raise UnsupportedModelError(f"its method {name!r} calls {kind}, which reaches files or the network")


def fix_to_inference(graph: IrGraph, root: ModuleObject) -> None:
    """Read `self.training` and other plain attributes once and for all, so that branches on them become straight code.

    Args:
        graph: inlined; its first input is `root`.
        root: the module. Where it is in training mode, that is what is fixed.

    Raises:
        UnsupportedModelError: it compares enumerations that are not constants.
    """
    _read_switches(graph, root)
    _read_comparisons_of_enums(graph, root)
    _drop_idle_dropouts(graph)
    passes: Any = torch._C
    passes._jit_pass_constant_propagation_immutable_types(graph)
    passes._jit_pass_dce(graph)


def _read_switches(graph: IrGraph, root: ModuleObject) -> None:
    """Replace every attribute that is a truth value, a number or a text, and that no method sets, by its value."""
    attributes = Attributes(root, graph)
    set_somewhere = names_set(root)
    for node in list(all_nodes(graph)):
        if node.kind() != "prim::GetAttr" or node.s("name") in set_somewhere:
            continue
        place = attributes.place(node)
        if place is None or not isinstance(place.value, (bool, int, float, str)):
            continue
        with graph.insert_point_guard(node):
            node.output().replaceAllUsesWith(graph.insertConstant(place.value))


def _drop_idle_dropouts(graph: IrGraph) -> None:
    """Take out every dropout in inference: it gives back the very tensor that it was given.

    torch's own passes do not know that. They believe that it makes a new one, and take out what writes to that.
    """
    for node in list(all_nodes(graph)):
        if node.kind().removesuffix("_") in _DROPOUTS and node.inputsAt(2).toIValue() is False:
            node.output().replaceAllUsesWith(node.inputsAt(0))
            node.destroy()


def _read_comparisons_of_enums(graph: IrGraph, root: ModuleObject) -> None:
    """Replace comparisons of constant enumerations by their value.

    torch has no registered operator for them, and its own passes stop at them with an internal error.
    """
    attributes = Attributes(root, graph)
    set_somewhere = names_set(root)

    def known(value: IrValue) -> object:
        node = value.node()
        if node.kind() != "prim::GetAttr" or node.s("name") in set_somewhere:
            return value.toIValue()
        place = attributes.place(node)
        return None if place is None else place.value

    for node in list(all_nodes(graph)):
        if node.kind() not in ("aten::eq", "aten::ne") or not any(_is_enum(value) for value in node.inputs()):
            continue
        left, right = (known(value) for value in node.inputs())
        if left is None or right is None:
            raise UnsupportedModelError(
                "compares enumerations at run time, which torch's own passes cannot read: trace it or export it instead"
            )
        with graph.insert_point_guard(node):
            node.output().replaceAllUsesWith(graph.insertConstant((left == right) == (node.kind() == "aten::eq")))
        node.destroy()


def _is_enum(value: IrValue) -> bool:
    return bool(value.type().kind() == "EnumType")


def names_set(root: ModuleObject) -> set[str]:
    """Names of all attributes that some method of some module sets."""
    methods = {(m.type_name, m.name): m for module in modules_of(root) for m in methods_of(module)}
    nodes = (node for method in methods.values() for node in all_nodes(method.graph))
    return {node.s("name") for node in nodes if node.kind() == "prim::SetAttr"}
