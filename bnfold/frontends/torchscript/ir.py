"""TorchScript's own form of a program: graphs, the attributes of modules that they read and set, methods and calls.

torch publishes no complete types for it, so these have names here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

IrGraph: TypeAlias = Any
"""torch._C.Graph."""
IrBlock: TypeAlias = Any
"""torch._C.Block, or a graph."""
IrNode: TypeAlias = Any
"""torch._C.Node."""
IrValue: TypeAlias = Any
"""torch._C.Value."""
IrSchema: TypeAlias = Any
"""torch._C.FunctionSchema."""
ModuleObject: TypeAlias = Any
"""torch._C.ScriptModule: a module without the Python around it."""

AttributeKey: TypeAlias = tuple[ModuleObject, str]
"""An attribute as a key: the module itself, whatever path led to it, and the attribute's name."""
ClassMember: TypeAlias = tuple[str, str]
"""Qualified name of a class, and the name of one of its attributes or methods."""


class _Unreadable:
    """What an attribute holds that has no form in Python."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE = _Unreadable()

# Of the operators that may have blocks, those that are in every graph.
_WITHOUT_BLOCKS = frozenset(
    f"prim::{name}"
    for name in (
        *("CallFunction", "CallMethod", "Constant", "GetAttr", "ListConstruct", "ListUnpack", "NumToTensor", "SetAttr"),
        *("RaiseException", "TupleConstruct", "TupleUnpack", "Uninitialized", "dtype", "unchecked_cast"),
    )
)


def all_nodes(block: IrBlock) -> Iterator[IrNode]:
    """All nodes of a graph in its order, those of blocks behind the node that holds them."""
    waiting = [iter(list(block.nodes()))]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting += [iter(list(inner.nodes())) for inner in reversed(_blocks(node))]


def _blocks(node: IrNode) -> list[IrBlock]:
    """Most nodes are not asked: where there are none, the iterator ends in an exception of C++, which takes long."""
    kind = node.kind()
    return list(node.blocks()) if kind.startswith("prim::") and kind not in _WITHOUT_BLOCKS else []


@dataclass(frozen=True)
class Attribute:
    """One attribute of one module.

    Attributes:
        owner: the module.
        path: names from the top module down to the owner; empty for the top module itself.
        name: of the attribute.
    """

    owner: ModuleObject
    path: tuple[str, ...]
    name: str

    @property
    def key(self) -> AttributeKey:
        """The same for every path that leads to the owner."""
        return self.owner, self.name

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever the attribute holds
        """What the attribute holds now; `UNREADABLE` where that is an object of a class that Python does not know."""
        try:
            return self.owner.getattr(self.name)
        except RuntimeError:  # torch looks for a Python class, and finds none for those of a file
            return UNREADABLE

    @property
    def dotted(self) -> str:
        """The attribute as people write it: layer1.0.conv.weight."""
        return ".".join((*self.path, self.name))


class Attributes:
    """Follows the chains of prim::GetAttr in one graph, on the module itself.

    Args:
        module: the top module.
        graph: of one of its methods; its first input is the module.
    """

    def __init__(self, module: ModuleObject, graph: IrGraph) -> None:
        itself = next(iter(graph.inputs())).debugName()
        self._graph = graph
        self._modules: dict[str, tuple[ModuleObject, tuple[str, ...]]] = {itself: (module, ())}

    def at(self, node: IrNode) -> Attribute | None:
        """The attribute that a prim::GetAttr or prim::SetAttr names; None where its owner is only known at run time."""
        owner = self.module(node.inputsAt(0))
        return None if owner is None else Attribute(*owner, node.s("name"))

    def behind(self, value: IrValue) -> Attribute | None:
        """The attribute that a value was read from; None for other values, and where the owner is not known."""
        node = value.node()
        return self.at(node) if node.kind() == "prim::GetAttr" else None

    def tensor(self, value: IrValue) -> torch.Tensor | None:
        """The tensor that a value always is: a constant of the code, or what a module holds now."""
        attribute = self.behind(value)
        held = value.toIValue() if attribute is None else attribute.value
        return held if isinstance(held, torch.Tensor) else None

    def module(self, value: IrValue) -> tuple[ModuleObject, tuple[str, ...]] | None:
        """The module that a value is, and the path to it; None where it is none, or only known at run time."""
        name = value.debugName()
        if name not in self._modules:
            attribute = self.behind(value)
            if attribute is None or not isinstance(attribute.value, torch._C.ScriptModule):
                return None
            self._modules[name] = attribute.value, (*attribute.path, attribute.name)
        return self._modules[name]

    def reads(self) -> dict[AttributeKey, list[IrNode]]:
        """The nodes of the graph that read each attribute, as the graph is now."""
        return self._named_by("prim::GetAttr")

    def writes(self) -> dict[AttributeKey, list[IrNode]]:
        """The nodes of the graph that set each attribute, as the graph is now."""
        return self._named_by("prim::SetAttr")

    def _named_by(self, kind: str) -> dict[AttributeKey, list[IrNode]]:
        found: dict[AttributeKey, list[IrNode]] = {}
        for node in all_nodes(self._graph):
            attribute = self.at(node) if node.kind() == kind else None
            if attribute is not None:
                found.setdefault(attribute.key, []).append(node)
        return found


def tensors_in(held: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401 - whatever the attribute holds
    """Every tensor in lists, dicts and tuples."""
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, dict):
        for element in held.values():
            yield from tensors_in(element)
    elif isinstance(held, (list, tuple)):
        for element in held:
            yield from tensors_in(element)


def parameter_name(owner: ModuleObject, held: object) -> str:
    """The parameter of a module that is this tensor, from the same memory on; "" where there is none."""
    parameters: Any = torch._C.ParameterDict(owner)
    if not isinstance(held, torch.Tensor):
        return ""
    for name, tensor in parameters.items():
        if tensor is held or (
            tensor.numel()
            and (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            == (held.data_ptr(), held.shape, held.stride(), held.dtype)
        ):
            return str(name)
    return ""


def class_name(module: ModuleObject) -> str:
    """The qualified name of a module's class, which several modules may share."""
    return str(module._type().qualified_name())


@dataclass(frozen=True)
class Method:
    """One method of one module."""

    owner: ModuleObject
    name: str

    @property
    def member(self) -> ClassMember:
        """The method as a member of its class: the methods of all modules of the class have one graph."""
        return class_name(self.owner), self.name

    @property
    def graph(self) -> IrGraph:
        """Its graph as it is run: changes to it change the method."""
        return self.owner._get_method(self.name).graph


def modules_of(root: ModuleObject) -> Iterator[ModuleObject]:
    """The module and all modules in it, each once."""
    seen: set[ModuleObject] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        yield module
        waiting += [child for _, child in torch._C.ModuleDict(module).items()]


def methods_of(root: ModuleObject) -> Iterator[Method]:
    """All methods of the module and of all modules in it."""
    return (Method(module, name) for module in modules_of(root) for name in module._method_names())


@dataclass(frozen=True)
class Reach:
    """What a method calls, directly or not.

    Attributes:
        methods: itself and all that it calls.
        reads: the attributes that they read.
        is_complete: whether every receiver of a call is known before run time. One behind an interface is not: such a
            call may go anywhere.
    """

    methods: frozenset[Method]
    reads: frozenset[AttributeKey]
    is_complete: bool


class CallGraph:
    """Which methods call which. Each method is read once: a call graph must not outlive a change of one."""

    def __init__(self) -> None:
        self._own: dict[Method, Reach] = {}

    def own(self, method: Method) -> Reach:
        """What stands in a method itself: of the methods, those that it calls directly."""
        if method not in self._own:
            self._own[method] = _read(method)
        return self._own[method]

    def reach(self, method: Method) -> Reach:
        """Follow the calls of a method."""
        seen: dict[Method, Reach] = {}
        waiting = [method]
        while waiting:
            current = waiting.pop()
            if current not in seen:
                seen[current] = self.own(current)
                waiting += seen[current].methods
        reads = frozenset(key for own in seen.values() for key in own.reads)
        return Reach(frozenset(seen), reads, all(own.is_complete for own in seen.values()))


def _read(method: Method) -> Reach:
    graph = method.graph
    attributes = Attributes(method.owner, graph)
    calls: set[Method] = set()
    is_complete = True
    for node in all_nodes(graph):
        if node.kind() == "prim::CallMethod":
            receiver = attributes.module(node.inputsAt(0))
            if receiver is not None:
                calls.add(Method(receiver[0], node.s("name")))
            else:
                is_complete = is_complete and node.inputsAt(0).type().kind() != "InterfaceType"
    return Reach(frozenset(calls), frozenset(attributes.reads()), is_complete)


def is_forward(method: Method, root: ModuleObject) -> bool:
    """Whether a method is the forward of its module."""
    return bool(method.name == "forward" and method.owner == root)


def independent_methods(root: ModuleObject, reach: Reach) -> list[Method]:
    """Methods that somebody may call beside forward, and that must go on as they were.

    Args:
        root: the module.
        reach: of its forward. Where that is not complete, every method is independent.
    """
    return [method for method in methods_of(root) if not (is_forward(method, root) or _serves(method, root, reach))]


def _serves(method: Method, root: ModuleObject, reach: Reach) -> bool:
    """Whether it is a method of a submodule that forward calls."""
    return reach.is_complete and method in reach.methods and not method.owner == root  # noqa: SIM201 - torch has no !=


def protected_attributes(root: ModuleObject, reach: Reach) -> set[AttributeKey]:
    """What independent methods read, which must stay as it is."""
    calls = CallGraph()
    return {key for method in independent_methods(root, reach) for key in calls.reach(method).reads}


def names_set(root: ModuleObject) -> set[str]:
    """Names of all attributes that some method of some module sets."""
    methods = {method.member: method for method in methods_of(root)}
    nodes = (node for method in methods.values() for node in all_nodes(method.graph))
    return {node.s("name") for node in nodes if node.kind() == "prim::SetAttr"}
