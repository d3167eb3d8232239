"""The inputs of a trace, which torch.jit.save writes beside the code: their structure and their sizes.

The values are not in the file, and nothing here is handed to torch: the pickle is read as inert values, and of a tensor
only the sizes are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from bnfold.errors import ModelFormatError
from bnfold.frontends.torch_archive.layout import parts_of_script
from bnfold.frontends.torch_archive.pickle_values import Call, Global, PickleRefusedError
from bnfold.frontends.torch_archive.pickles import read_pickle
from bnfold.frontends.torch_archive.tensors import STORAGES
from bnfold.frontends.torch_archive.zip_reader import Entry

_PICKLE = "traced_inputs.pkl"
# A file may claim any size: one that no trial run should be made for is not taken at its word.
_MOST_ELEMENTS = 2**26


@dataclass(frozen=True)
class Sizes:
    """The shape of a tensor that a trace was made with."""

    shape: tuple[int, ...]


Recorded: TypeAlias = "Sizes | list[Recorded] | dict[str | int, Recorded] | None"
"""An argument of a trace; None stands for what is no tensor."""


def traced_inputs(entries: Mapping[str, Entry]) -> list[Recorded]:
    """The arguments that forward was traced with; none where the file is no trace, or does not say it as torch does.

    Args:
        entries: of a TorchScript file.
    """
    forward = _recorded(_by_method(parts_of_script(entries)).get("forward"))
    return forward if isinstance(forward, list) else []


def parts_of_trace(parts: Mapping[str, Entry]) -> dict[str, bytes]:
    """The parts that say with what a trace was made, for another file of the same signature.

    Args:
        parts: of a TorchScript file, by their names in its folder.

    Returns:
        Nothing where they do not say it as torch does.
    """
    if not _by_method(parts):
        return {}
    return {name: bytes(entry.content()) for name, entry in parts.items() if name.startswith("traced_inputs")}


def _by_method(parts: Mapping[str, Entry]) -> dict[Any, Any]:
    """Inert arguments by the method that was traced."""
    if _PICKLE not in parts:
        return {}
    try:
        value = _untagged(read_pickle(parts[_PICKLE].content(), _is_known))
    except (PickleRefusedError, ModelFormatError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_known(one: Global) -> bool:
    return (
        one in (Global("torch._utils", "_rebuild_tensor_v2"), Global("collections", "OrderedDict"))
        or one.module == "torch.jit._pickle"
        or (one.module == "torch" and one.name in STORAGES)
    )


def _untagged(value: Any) -> Any:  # noqa: ANN401 - an inert value
    """A list or a dict without the call that tells torch its type."""
    while isinstance(value, Call) and value.function.module == "torch.jit._pickle" and value.arguments:
        value = value.arguments[0]
    return value


def _recorded(value: Any) -> Recorded:  # noqa: ANN401 - an inert value
    match _untagged(value):
        case Call(function=Global(name="_rebuild_tensor_v2"), arguments=(_, _, tuple(shape), *_)):
            return _sizes(shape)
        case list() | tuple() as items:
            return [_recorded(item) for item in items]
        case dict() as items:
            return {key: _recorded(item) for key, item in items.items() if isinstance(key, (str, int))}
    return None


def _sizes(shape: tuple[Any, ...]) -> Sizes | None:
    plain = all(type(size) is int and size >= 0 for size in shape)
    return Sizes(shape) if plain and prod(shape) <= _MOST_ELEMENTS else None
