"""What a program takes: its arguments, nested ones taken apart into leaves, and how leaves become arguments again."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from bnfold.verifier.programs.tensors import numpy_dtype


@dataclass(frozen=True)
class TorchPort:
    """One leaf of the arguments of a program.

    Attributes:
        name: the path to it: "x", "pair.0", "inputs.image".
        type: for people: "Tensor", "int", "Optional[Tensor]".
        dtype: of a tensor, None where nothing says it.
        sizes: what to feed a tensor with, None where nothing says it.
        shape: what is fixed of it: None stands for a free size, and () for all of it. An array of k * D rows holds k
            samples where the first size is D.
        constant: what is passed where the caller says nothing: a default, or a number that the program was made with.
        is_optional: whether `constant` may be passed.
        alias: another name that the caller may use: "pair_0" for "pair.0".
    """

    name: str
    type: str
    dtype: "np.dtype[Any] | None" = None
    sizes: tuple[int, ...] | None = None
    shape: tuple[int | None, ...] = ()
    constant: object = None
    is_optional: bool = False
    alias: str = ""

    @property
    def is_sequence(self) -> bool:
        """Sequences are taken apart into their tensors."""
        return False

    @property
    def is_tensor(self) -> bool:
        """Whether values are drawn for it."""
        return self.type == "Tensor"


Build: TypeAlias = Callable[[Iterator[Any]], Any]
"""Takes leaves, in the order of the ports, and gives one argument."""
Argument: TypeAlias = tuple[list[TorchPort], Build]
"""The leaves of one argument, and how it is built of them."""


def script_argument(argument: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401 - of torch._C
    """One argument of a ScriptModule's forward.

    Args:
        argument: of its schema.
        value: its input in the graph: what it reads by constant keys says how long a list is, and what a dict holds.
        named: the names of leaves of which the caller says anything. They say the same.
    """
    ports, build = _of_type(argument.name, argument.type, value, named)
    if len(ports) == 1 and ports[0].name == argument.name and argument.has_default_value():
        ports = [replace(ports[0], constant=argument.default_value, is_optional=True)]
    elif argument.has_default_value() and not _below(argument.name, named):
        default = TorchPort(argument.name, str(argument.type), constant=argument.default_value, is_optional=True)
        return [default], next
    return ports, build


def _of_type(name: str, kind: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401 - of torch._C
    unfold = _CONTAINERS.get(kind.kind())
    if unfold is not None:
        return unfold(name, kind, value, named)
    sizes = dtype = None
    if kind.kind() == "TensorType" and value is not None and value.type().kind() == "TensorType":
        sizes, dtype = value.type().sizes(), value.type().dtype()
    sizes = None if sizes is None else tuple(sizes)
    return [TorchPort(name, str(kind), None if dtype is None else numpy_dtype(dtype), sizes, sizes or ())], next


def _optional(name: str, kind: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401
    """None, unless the caller speaks of something in it."""
    inner = kind.getElementType()
    if inner.kind() in _CONTAINERS and _below(name, named):
        return _of_type(name, inner, value, named)
    return [TorchPort(name, str(kind), is_optional=True)], next


def _tuple(name: str, kind: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401
    read = _reads(value, len(kind.elements()))
    parts = [_of_type(f"{name}.{at}", element, read.get(at), named) for at, element in enumerate(kind.elements())]
    return _together(parts, tuple)


def _list(name: str, kind: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401
    read = _reads(value, None)
    asked = [int(key) for key in _below(name, named) if key.isdecimal()]
    length = max([*asked, *(at for at in read if isinstance(at, int))], default=0) + 1
    element = kind.getElementType()
    return _together([_of_type(f"{name}.{at}", element, read.get(at), named) for at in range(length)], list)


def _dict(name: str, kind: Any, value: Any, named: Collection[str]) -> Argument:  # noqa: ANN401
    read = _reads(value, None)
    as_key = int if kind.getKeyType().kind() == "IntType" else str
    keys = list(dict.fromkeys([*read, *(as_key(key) for key in _below(name, named))]))
    parts = [_of_type(f"{name}.{key}", kind.getValueType(), read.get(key), named) for key in keys]
    return _together(parts, lambda values: dict(zip(keys, values, strict=True)))


_CONTAINERS: dict[str, Callable[[str, Any, Any, Collection[str]], Argument]] = {
    "OptionalType": _optional,
    "TupleType": _tuple,
    "ListType": _list,
    "DictType": _dict,
}


def _together(parts: Sequence[Argument], container: Callable[[list[Any]], object]) -> Argument:
    def build(leaves: Iterator[Any]) -> object:
        return container([part(leaves) for _, part in parts])

    return [port for ports, _ in parts for port in ports], build


def _below(name: str, named: Collection[str]) -> list[str]:
    """What comes next in the names that begin with this one: of "pair", "0" for "pair.0"."""
    rests = [entry.removeprefix(f"{name}.") for entry in named if entry.startswith(f"{name}.")]
    return list(dict.fromkeys(rest.partition(".")[0] for rest in rests))


def _reads(value: Any, length: int | None) -> Mapping[int | str, Any]:  # noqa: ANN401 - of torch._C
    """What a graph takes out of a list, a tuple or a dict by constant keys, by these keys."""
    found: dict[int | str, Any] = {}
    for use in value.uses() if value is not None else ():
        node = use.user
        if node.kind() in ("prim::TupleUnpack", "prim::ListUnpack"):
            found.update(enumerate(node.outputs()))
        elif node.kind() in ("aten::__getitem__", "prim::TupleIndex") and use.offset == 0:
            key = node.inputsAt(1).toIValue()
            if isinstance(key, int) and key < 0 and length is not None:
                key += length
            if isinstance(key, str) or (isinstance(key, int) and key >= 0):
                found.setdefault(key, node.output())
    return found


def exported_names(spec: Any, placeholders: Sequence[str]) -> list[str]:  # noqa: ANN401 - a TreeSpec
    """The paths of an exported program's inputs, in the order of its placeholders: "pair.0" for "pair_0".

    Args:
        spec: of its positional and its keyword arguments.
        placeholders: the names that its graph has for them.
    """
    from torch.utils import _pytree as pytree

    paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(len(placeholders))), spec))
    names = []
    for (path, _leaf), placeholder in zip(paths, placeholders, strict=True):
        keys = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path[2:]]
        base = placeholder.removesuffix("_" + "_".join(keys)) if keys else placeholder
        names.append(".".join([base, *keys]) if not keys or base != placeholder else placeholder)
    return names
