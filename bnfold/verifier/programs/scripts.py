"""ScriptModules as programs: every run is one of a copy."""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bnfold.verifier.programs.ports import Argument, script_argument
from bnfold.verifier.programs.program import TorchProgram

if TYPE_CHECKING:
    import torch

    from bnfold.verifier.programs.parts.graph import ProgramGraph

Place: TypeAlias = tuple[str, ...]
"""Names from the top module down to an attribute."""

_LEAVES = frozenset(("prim::CallMethod", "prim::Constant", "prim::GetAttr", "prim::ListConstruct", "prim::SetAttr"))


class RunnableScript(TorchProgram):
    """A ScriptModule.

    Args:
        role: how messages call it.
        module: left as it is.
        named: the inputs of which the caller says anything: they say what lists and dicts hold.
    """

    def __init__(self, role: str, module: "torch.jit.ScriptModule", named: Collection[str]) -> None:
        self._root: Any = copy.deepcopy(module._c)
        self._copy: Any = None
        forward = self._root._get_method("forward")
        graph = forward.inlined_graph
        self._arguments: list[Argument] = [
            script_argument(argument, value, named)
            for argument, value in zip(forward.schema.arguments[1:], list(graph.inputs())[1:], strict=True)
        ]
        self.role, self.ports = role, tuple(port for ports, _ in self._arguments for port in ports)
        self._places = sorted(_places(graph))
        # Those in the code belong to every copy.
        self._constants = [node.t("value") for node in _all_nodes(graph) if _is_tensor(node)]
        self._constants_before = [constant.clone() for constant in self._constants]
        held = [_held(self._root, place) for place in self._places]
        self.dtypes = {tensor.dtype for tensor in [*filter(_has_data, held), *self._constants]}

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """See TorchProgram."""
        left = iter(leaves)
        return [build(left) for _, build in self._arguments]

    def graph(self) -> "ProgramGraph":
        """See TorchProgram."""
        from bnfold.verifier.programs.parts.scripts import ScriptGraph

        return ScriptGraph(self._root)

    def _begin(self) -> None:
        self._copy = copy.deepcopy(self._root)
        held = ((place, _held(self._copy, place)) for place in self._places)
        self._versions = {place: value._version for place, value in held if _has_data(value)}

    def _call(self, leaves: Sequence[Any]) -> object:
        return self._copy._get_method("forward")(*self.arguments(leaves))

    def _kept(self) -> Mapping[str, object]:
        """Parameters are large, and nobody writes to them without telling their version."""
        held = {place: _held(self._copy, place) for place in self._places}
        return {
            ".".join(place): value
            for place, value in held.items()
            if not _is_object(value)
            and not (getattr(value, "requires_grad", False) and self._versions.get(place) == value._version)
        }

    def _end(self) -> None:
        self._copy = None
        for constant, before in zip(self._constants, self._constants_before, strict=True):
            constant.copy_(before)


def _places(graph: Any) -> set[Place]:  # noqa: ANN401 - of torch._C
    """What an inlined graph reads or sets in its module."""
    modules: dict[str, Place] = {next(iter(graph.inputs())).debugName(): ()}
    found: set[Place] = set()
    for node in _all_nodes(graph):
        if node.kind() not in ("prim::GetAttr", "prim::SetAttr"):
            continue
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


def _all_nodes(block: Any) -> Iterator[Any]:  # noqa: ANN401 - of torch._C
    for node in block.nodes():
        yield node
        if node.kind().startswith("prim::") and node.kind() not in _LEAVES:  # to ask for no blocks takes long
            for inner in node.blocks():
                yield from _all_nodes(inner)


def _is_tensor(node: Any) -> bool:  # noqa: ANN401 - of torch._C
    return bool(node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t")


def _has_data(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _is_object(value: object) -> bool:
    import torch

    return isinstance(value, (torch._C.ScriptObject, torch.ScriptObject))
