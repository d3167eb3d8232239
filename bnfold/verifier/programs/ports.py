"""What a program takes, leaf by leaf: tensors and numbers, in the lists, tuples and dicts that hold them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

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


def script_ports(argument: Any, value: Any, named: Collection[str]) -> Any:  # noqa: ANN401 - of torch._C
    """The ports of one argument of a ScriptModule's forward, in the containers that it takes.

    Args:
        argument: of its schema.
        value: its input in the graph: what it reads by constant keys says how long a list is, and what a dict holds.
        named: the names of leaves of which the caller says anything. They say the same.
    """
    ports = _of_type(argument.name, argument.type, value, named)
    if not argument.has_default_value() or (not isinstance(ports, TorchPort) and _below(argument.name, named)):
        return ports
    port = ports if isinstance(ports, TorchPort) else TorchPort(argument.name, str(argument.type))
    return replace(port, constant=argument.default_value, is_optional=True)


def _of_type(name: str, kind: Any, value: Any, named: Collection[str]) -> Any:  # noqa: ANN401 - of torch._C
    match kind.kind():
        case "TensorType" if value is not None and value.type().kind() == "TensorType":
            sizes, dtype = value.type().sizes(), value.type().dtype()
            sizes = None if sizes is None else tuple(sizes)
            return TorchPort(name, str(kind), None if dtype is None else numpy_dtype(dtype), sizes, sizes or ())
        case "OptionalType":  # None, unless the caller speaks of something in it
            inner = kind.getElementType()
            if inner.kind() in ("TupleType", "ListType", "DictType", "OptionalType") and _below(name, named):
                return _of_type(name, inner, value, named)
            return TorchPort(name, str(kind), is_optional=True)
        case "TupleType":
            read, kinds = _reads(value, len(kind.elements())), enumerate(kind.elements())
            return tuple(_of_type(f"{name}.{at}", inner, read.get(at), named) for at, inner in kinds)
        case "ListType":
            read, inner = _reads(value), kind.getElementType()
            asked = [int(key) for key in _below(name, named) if key.isdecimal()]
            length = max([*asked, *(at for at in read if isinstance(at, int))], default=0) + 1
            return [_of_type(f"{name}.{at}", inner, read.get(at), named) for at in range(length)]
        case "DictType":
            read, inner = _reads(value), kind.getValueType()
            as_key = int if kind.getKeyType().kind() == "IntType" else str
            keys = dict.fromkeys([*read, *(as_key(key) for key in _below(name, named))])
            return {key: _of_type(f"{name}.{key}", inner, read.get(key), named) for key in keys}
        case _:
            return TorchPort(name, str(kind))


def _below(name: str, named: Collection[str]) -> list[str]:
    """What comes next in the names that begin with this one: of "pair", "0" for "pair.0"."""
    rests = [entry.removeprefix(f"{name}.") for entry in named if entry.startswith(f"{name}.")]
    return list(dict.fromkeys(rest.partition(".")[0] for rest in rests))


def _reads(value: Any, length: int = 0) -> Mapping[int | str, Any]:  # noqa: ANN401 - of torch._C
    """What a graph takes out of a list, a tuple of a length or a dict by constant keys, by these keys."""
    found: dict[int | str, Any] = {}
    for use in value.uses() if value is not None else ():
        node = use.user
        if node.kind() in ("prim::TupleUnpack", "prim::ListUnpack"):
            found.update(enumerate(node.outputs()))
        elif node.kind() in ("aten::__getitem__", "prim::TupleIndex") and use.offset == 0:
            key = node.inputsAt(1).toIValue()
            key = key + length if isinstance(key, int) and key < 0 else key
            if isinstance(key, str) or (isinstance(key, int) and key >= 0):
                found.setdefault(key, node.output())
    return found
