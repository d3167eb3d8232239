"""A ScriptModule on its way through a fold: read, folded as an AtenGraph, and written back."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.torchscript.file import duplicate
from bnfold.frontends.torchscript.inputs import question_for_shapes
from bnfold.frontends.torchscript.ir import (
    Attribute,
    AttributeKey,
    Attributes,
    IrGraph,
    ModuleObject,
    methods_of,
    protected_attributes,
)
from bnfold.frontends.torchscript.lift import lift, read_graph
from bnfold.frontends.torchscript.members import ParameterPlacement, dead_members, with_classes_rewritten
from bnfold.frontends.torchscript.prepare import Prepared, fix_to_inference, prepare
from bnfold.frontends.torchscript.shapes import fixed_types, observe
from bnfold.frontends.torchscript.write import Replay


class ScriptProgram:
    """One fold of one module.

    Args:
        module: left as it is.
        examples: arguments of forward that it runs on; empty where nobody knows any. Of what they do not reach, only
            those ranks are known that the program fixes.
        assume_inference: fold the module as it is in evaluation mode.

    Attributes:
        graph: to be folded before `finish`.

    Raises:
        UnsupportedModelError: it has no forward, or its code reaches files or the network.
    """

    def __init__(
        self, module: torch.jit.ScriptModule, examples: Sequence[Any] = (), *, assume_inference: bool = False
    ) -> None:
        self._module = module
        prepared = prepare(module, assume_inference=assume_inference)
        types = fixed_types(prepared)  # also of what stands in branches that no example takes
        if examples:
            types |= observe(prepared, examples)
        self._lifted = lift(prepared, types, _written_attributes(prepared))
        self._lifted.graph.asks_for_shapes = "" if examples else question_for_shapes(prepared)

    @property
    def graph(self) -> AtenGraph:
        """The program as a graph of aten operators."""
        return self._lifted.graph

    def finish(self) -> torch.jit.ScriptModule:
        """The folded program, as a module of its own; a copy of the original where nothing was folded."""
        if not self.graph.journal:
            return duplicate(self._module)
        prepared = self._lifted.prepared
        root = prepared.root
        reads_before = Attributes(root, prepared.graph).reads()
        shared = {key for key, nodes in reads_before.items() if sum(len(node.output().uses()) for node in nodes) > 1}
        placement = ParameterPlacement(root, protected_attributes(root, prepared.reach), shared)
        replay = Replay(self._lifted, placement)
        replay.run()
        _tolerate_other_strides(self.graph, replay)
        torch._C._jit_pass_dce(prepared.graph)
        torch._C._jit_pass_lint(prepared.graph)
        lost = set(reads_before) - set(Attributes(root, prepared.graph).reads())
        dead = dead_members(root, prepared.reach, replay.changed, lost)
        return with_classes_rewritten(prepared.module, dead, placement.registered)


def _written_attributes(prepared: Prepared) -> dict[AttributeKey, str]:
    """Every attribute that a method that forward does not call sets or changes in place, and the method's name.

    Their values are not fixed. All methods are judged as they are in inference: the statistics that training keeps are
    no writes then.
    """
    found: dict[AttributeKey, str] = {}
    for method in methods_of(prepared.root):
        if method not in prepared.reach.methods:
            graph = method.graph.copy()
            fix_to_inference(graph, method.owner)
            found.update(dict.fromkeys(_written_in(graph, method.owner), method.name))
    return found


def _written_in(graph: IrGraph, module: ModuleObject) -> Iterator[AttributeKey]:
    yield from Attributes(module, graph).writes()
    for value in read_graph(module, graph).inputs:
        if value.mutation and isinstance(value.origin, Attribute):
            yield value.origin.key


def _tolerate_other_strides(graph: AtenGraph, replay: Replay) -> None:
    """Turn views into reshapes: a BatchNorm that is gone may have made the strides that a view relies on."""
    for node in graph.nodes:
        if (
            node.op == "aten::view"
            and "size" in node.arguments
            and not any(value is not None and value.mutation for value in node.outputs)
        ):
            replay.respell(node, "aten::reshape")
