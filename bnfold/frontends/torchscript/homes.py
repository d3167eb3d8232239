"""Where a new parameter lives: in the module of its operator where that has room, else in the top module."""

from collections import Counter
from dataclasses import dataclass, field

import torch

from bnfold.frontends.torchscript.ir import ModuleObject
from bnfold.frontends.torchscript.methods import PlaceKey, modules_of


@dataclass(frozen=True)
class Home:
    """A place for a new parameter.

    Attributes:
        path: names from the top module to its owner.
        name: of the parameter in its owner.
    """

    path: tuple[str, ...]
    name: str


@dataclass
class Homes:
    """Finds and furnishes them.

    Args:
        root: the top module.
        protected: places that other methods read, which must stay as they are.
        shared: places that forward reads for more than one purpose: a bias for one of them has no room there.

    Attributes:
        registered: attributes that are new, by the qualified name of their class.
    """

    root: ModuleObject
    protected: set[PlaceKey]
    shared: set[PlaceKey]
    registered: dict[str, list[str]] = field(default_factory=dict)
    _reserved: set[PlaceKey] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._instances = Counter(_class_of(module) for module in modules_of(self.root))

    def reserve(self, wanted: str) -> Home:
        """A home for a parameter of this dotted name; the name changes where it is not free."""
        *path, name = wanted.split(".")
        owner = self._module(path)
        if owner is not None and self._has_room(owner, name):
            self._reserved.add((owner, name))
            return Home(tuple(path), name)
        flat, number = wanted.replace(".", "_"), 1
        candidate = flat
        while self.root.hasattr(candidate) or (self.root, candidate) in self._reserved:
            number += 1
            candidate = f"{flat}_{number}"
        self._reserved.add((self.root, candidate))
        return Home((), candidate)

    def furnish(self, home: Home, tensor: torch.Tensor) -> None:
        """Put the tensor into its home."""
        owner: ModuleObject = self._module(home.path)
        if owner.hasattr(home.name):
            owner.setattr(home.name, tensor)
            return
        owner._register_attribute(home.name, torch._C.TensorType.get(), tensor)
        self.registered.setdefault(_class_of(owner), []).append(home.name)

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
        return self._instances[_class_of(owner)] == 1


def _class_of(module: ModuleObject) -> str:
    return str(module._type().qualified_name())


def _may_hold_tensor(owner: ModuleObject, name: str) -> bool:
    """Whether an attribute that is None may hold a tensor: torch refuses where its type is NoneType."""
    try:
        owner.setattr(name, torch.zeros(0))
    except RuntimeError:
        return False
    owner.setattr(name, None)
    return True
