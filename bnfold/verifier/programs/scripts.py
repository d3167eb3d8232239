"""ScriptModules as programs: every run is one of a copy."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bnfold.verifier.programs.ports import script_ports
from bnfold.verifier.programs.program import TorchProgram

if TYPE_CHECKING:
    import torch

    from bnfold.verifier.programs.parts.graph import ProgramGraph

Place: TypeAlias = tuple[str, ...]
"""Names from the top module down to an attribute."""


class RunnableScript(TorchProgram):
    """A ScriptModule.

    Args:
        role: how messages call it.
        module: left as it is.
        named: the inputs of which the caller says anything: they say what lists and dicts hold.
    """

    def __init__(self, role: str, module: "torch.jit.ScriptModule", named: Collection[str]) -> None:
        import torch
        from torch.utils import _pytree as pytree

        self._root: Any = copy.deepcopy(module._c)
        self._copy: Any = None
        forward = self._root._get_method("forward")
        graph = forward.inlined_graph
        arguments = zip(forward.schema.arguments[1:], list(graph.inputs())[1:], strict=True)
        ports, self._spec = pytree.tree_flatten([script_ports(*argument, named) for argument in arguments])
        self.role, self.ports = role, tuple(ports)
        self._places = sorted(_places(graph))
        # Those in the code belong to every copy.
        constants = graph.findAllNodes("prim::Constant")
        values = (node.t("value") for node in constants if node.hasAttribute("value") and node.kindOf("value") == "t")
        self._constants = [(value, value.clone()) for value in values]
        held = [held for place in self._places if isinstance(held := _held(self._root, place), torch.Tensor)]
        self.dtypes = {tensor.dtype for tensor in [*held, *(value for value, _ in self._constants)]}

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """See TorchProgram."""
        from torch.utils import _pytree as pytree

        arguments: list[Any] = pytree.tree_unflatten(list(leaves), self._spec)
        return arguments

    def graph(self) -> "ProgramGraph":
        """See TorchProgram."""
        from bnfold.verifier.programs.parts.scripts import ScriptGraph

        return ScriptGraph(self._root)

    def _begin(self) -> None:
        self._copy = copy.deepcopy(self._root)

    def _call(self, leaves: Sequence[Any]) -> object:
        return self._copy._get_method("forward")(*self.arguments(leaves))

    def _held(self) -> Mapping[str, Any]:
        import torch

        held = {".".join(place): _held(self._copy, place) for place in self._places}
        objects = torch._C.ScriptObject, torch.ScriptObject
        return {name: value for name, value in held.items() if not isinstance(value, objects)}

    def _end(self) -> None:
        self._copy = None
        for constant, before in self._constants:
            constant.copy_(before)


def _places(graph: Any) -> set[Place]:  # noqa: ANN401 - of torch._C
    """What an inlined graph reads or sets in its module."""
    modules: dict[str, Place] = {next(iter(graph.inputs())).debugName(): ()}
    found: set[Place] = set()
    for node in (*graph.findAllNodes("prim::GetAttr"), *graph.findAllNodes("prim::SetAttr")):
        owner = modules.get(node.inputsAt(0).debugName())
        if owner is not None:
            place = (*owner, node.s("name"))
            found.add(place)
            if node.kind() == "prim::GetAttr":
                modules[node.output().debugName()] = place
    return found


def _held(root: Any, place: Place) -> Any:  # noqa: ANN401 - whatever an attribute holds
    for name in place:
        try:
            root = root.getattr(name)
        except RuntimeError:  # an object of a class that only the file knows, which has no form in Python
            return None
    return root
