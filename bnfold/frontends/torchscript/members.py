"""Members of classes that a fold adds, and those that it leaves dead.

A new parameter is placed in the module of its operator where that has room, else in the top module. What only folded
BatchNorms read is pruned. Methods of submodules that only served forward are inlined there; where a fold changed or
took away what such a method reads, it would now compute something else than it did, so it is pruned too.

torch can add an attribute to a module but neither call it a parameter nor remove one. The source of a class in an
archive says all that in its first lines, one attribute a line, and torch.jit.load follows what they say.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bnfold.frontends.torchscript.file import read_module, write_module
from bnfold.frontends.torchscript.ir import (
    AttributeKey,
    CallGraph,
    ClassMember,
    Method,
    ModuleObject,
    Reach,
    all_nodes,
    class_name,
    independent_methods,
    is_forward,
    methods_of,
    modules_of,
)

_CLASS = re.compile(r"class (\w+)\(.*\):$")
_ATTRIBUTE = re.compile(r'  (?:(\w+) : |__annotations__\["([^"]+)"\] = )')
_METHOD = re.compile(r"  def (\w+)\(")
_LIST = re.compile(r"  (__parameters__|__buffers__) = \[(.*)\]$")


@dataclass(frozen=True)
class NewAttribute:
    """An attribute that a module does not have yet, or that is None.

    Attributes:
        path: names from the top module to its owner.
        name: of the parameter in its owner.
    """

    path: tuple[str, ...]
    name: str


@dataclass
class ParameterPlacement:
    """Reserves places for new parameters, and fills them.

    Args:
        root: the top module.
        protected: attributes that other methods read, which must stay as they are.
        shared: attributes that forward reads for more than one use: a bias for one of them has no room there.

    Attributes:
        registered: attributes that are new, by the qualified name of their class.
    """

    root: ModuleObject
    protected: set[AttributeKey]
    shared: set[AttributeKey]
    registered: dict[str, list[str]] = field(default_factory=dict)
    _reserved: set[AttributeKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._instances = Counter(class_name(module) for module in modules_of(self.root))

    def reserve(self, wanted: str) -> NewAttribute:
        """A free attribute for a parameter of this dotted name; the name changes where it is not free."""
        *path, name = wanted.split(".")
        owner = self._module(path)
        if owner is not None and self._has_room(owner, name):
            self._reserved.add((owner, name))
            return NewAttribute(tuple(path), name)
        flat, number = wanted.replace(".", "_"), 1
        candidate = flat
        while self.root.hasattr(candidate) or (self.root, candidate) in self._reserved:
            number += 1
            candidate = f"{flat}_{number}"
        self._reserved.add((self.root, candidate))
        return NewAttribute((), candidate)

    def fill(self, new: NewAttribute, tensor: torch.Tensor) -> None:
        """Put a tensor where `reserve` said."""
        owner: ModuleObject = self._module(new.path)
        if owner.hasattr(new.name):
            owner.setattr(new.name, tensor)
            return
        owner._register_attribute(new.name, torch._C.TensorType.get(), tensor)
        self.registered.setdefault(class_name(owner), []).append(new.name)

    def _module(self, path: "tuple[str, ...] | list[str]") -> ModuleObject | None:
        module = self.root
        for step in path:
            if not module.hasattr(step):
                return None
            module = module.getattr(step)
            if not isinstance(module, torch._C.ScriptModule):
                return None
        return module

    def _has_room(self, owner: ModuleObject, name: str) -> bool:
        taken = self.protected | self.shared | self._reserved
        if (owner, name) in taken or not name.isidentifier():
            return False
        if owner.hasattr(name):
            return owner.getattr(name) is None and _may_hold_tensor(owner, name)
        return self._instances[class_name(owner)] == 1


def _may_hold_tensor(owner: ModuleObject, name: str) -> bool:
    """Whether an attribute that is None may hold a tensor: torch refuses where its type is NoneType."""
    try:
        owner.setattr(name, torch.zeros(0))
    except RuntimeError:
        return False
    owner.setattr(name, None)
    return True


@dataclass(frozen=True)
class DeadMembers:
    """Attributes and methods to take out of their classes."""

    attributes: frozenset[ClassMember]
    methods: frozenset[ClassMember]


def dead_members(root: ModuleObject, reach: Reach, changed: set[AttributeKey], lost: set[AttributeKey]) -> DeadMembers:
    """Decide what goes.

    Args:
        root: the module, already folded.
        reach: what forward called.
        changed: attributes whose values a fold changed.
        lost: attributes that forward read before the fold and does not read now.
    """
    calls = CallGraph()
    independent = set(independent_methods(root, reach))
    lost = lost - {key for method in independent for key in calls.reach(method).reads}
    serving = [method for method in methods_of(root) if method not in independent and not is_forward(method, root)]
    methods = _stale_methods(serving, calls, changed | lost)
    kept = {method.member: method for method in methods_of(root) if method.member not in methods}
    read = {member for method in kept.values() for member in _members_read(method)}
    alive = {method.owner for method in independent if not method.owner == root}  # noqa: SIM201 - torch has no !=
    return DeadMembers(frozenset(_dead_attributes(root, lost, read, alive)), frozenset(methods))


def _stale_methods(serving: Sequence[Method], calls: CallGraph, gone: set[AttributeKey]) -> set[ClassMember]:
    """Methods that read what is gone, and those that call them."""
    stale = {method.member for method in serving if not calls.reach(method).reads.isdisjoint(gone)}
    callers = {method.member: {called.member for called in calls.own(method).methods} for method in serving}
    grown = True
    while grown:
        more = {member for member, called in callers.items() if not called.isdisjoint(stale)} - stale
        stale |= more
        grown = bool(more)
    return stale


def _members_read(method: Method) -> Iterator[ClassMember]:
    """Attributes that a method itself reads, by class: modules of one class have the same attributes."""
    for node in all_nodes(method.graph):
        if node.kind() in ("prim::GetAttr", "prim::SetAttr"):
            yield str(node.inputsAt(0).type().qualified_name()), node.s("name")


def _dead_attributes(
    root: ModuleObject, lost: set[AttributeKey], read: set[ClassMember], alive: set[ModuleObject]
) -> Iterator[ClassMember]:
    """Tensors and modules that are lost in every module of their class."""
    attributes: dict[ClassMember, list[AttributeKey]] = {}
    for module in modules_of(root):
        for name in _attribute_names(module):
            attributes.setdefault((class_name(module), name), []).append((module, name))
    for member, keys in attributes.items():
        if member not in read and all(key in lost for key in keys) and not _any_alive(keys, alive):
            yield member


def _attribute_names(module: ModuleObject) -> Iterator[str]:
    kinds: tuple[Any, ...] = (torch._C.ModuleDict, torch._C.ParameterDict, torch._C.BufferDict)
    for members in (kind(module) for kind in kinds):
        yield from (name for name, _ in members.items())


def _any_alive(keys: Iterable[AttributeKey], alive: set[ModuleObject]) -> bool:
    held = [owner.getattr(name) for owner, name in keys]
    modules = [entry for entry in held if isinstance(entry, torch._C.ScriptModule)]
    return any(inner in alive for module in modules for inner in modules_of(module))


def with_classes_rewritten(
    module: torch.jit.ScriptModule, dead: DeadMembers, parameters: Mapping[str, Iterable[str]]
) -> torch.jit.ScriptModule:
    """A module like this one, read back from an archive with other classes.

    Args:
        module: the module.
        dead: what to take out.
        parameters: attributes that are parameters from now on, by the qualified name of their class.
    """
    written, edited = io.BytesIO(), io.BytesIO()
    write_module(module, written)
    rewriter = _ClassRewriter(dead, parameters)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(edited, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith(".py.debug_pkl"):
                continue  # where each piece of the text came from: it would point to the wrong places
            if entry.filename.endswith(".py"):
                data = rewriter.rewrite(_module_name(entry.filename), data.decode()).encode()
            target.writestr(entry.filename, data)
    edited.seek(0)
    return read_module(edited)


def _module_name(path: str) -> str:
    """archive/code/__torch__/a/b.py holds the classes of __torch__.a.b."""
    return path.partition("/code/")[2].removesuffix(".py").replace("/", ".")


class _ClassRewriter:
    def __init__(self, dead: DeadMembers, parameters: Mapping[str, Iterable[str]]) -> None:
        self._dead = dead
        self._parameters = parameters

    def rewrite(self, module_name: str, text: str) -> str:
        """The text of one file of code."""
        return "\n".join(self._lines(module_name, text.split("\n")))

    def _lines(self, module_name: str, lines: list[str]) -> Iterator[str]:
        in_class = ""
        skipping = False
        for line in lines:
            if (start := _CLASS.match(line)) is not None:
                in_class = f"{module_name}.{start[1]}"
            elif line and not line.startswith(" "):
                in_class = ""
            if not line.startswith("   "):
                skipping = bool(in_class) and self._is_dead(in_class, line)
            if not skipping:
                yield self._listed(in_class, line)

    def _is_dead(self, in_class: str, line: str) -> bool:
        """Whether a line begins something that goes; deeper lines behind it go with it."""
        if (method := _METHOD.match(line)) is not None:
            return (in_class, method[1]) in self._dead.methods
        attribute = _ATTRIBUTE.match(line)
        return attribute is not None and (in_class, attribute[1] or attribute[2]) in self._dead.attributes

    def _listed(self, in_class: str, line: str) -> str:
        """The lists of parameters and buffers, without what goes and with what is new."""
        listed = _LIST.match(line) if in_class else None
        if listed is None:
            return line
        names = re.findall(r'"([^"]+)"', listed[2])
        names = [name for name in names if (in_class, name) not in self._dead.attributes]
        if listed[1] == "__parameters__":
            names += self._parameters.get(in_class, ())
        return f"  {listed[1]} = [{''.join(f'{chr(34)}{name}{chr(34)}, ' for name in names)}]"
