"""What a pickle builds, as inert values: a global is its name, a call is the function's name and its arguments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

_MOST_VALUES = 10_000_000
_DEEPEST = 150


class PickleRefusedError(Exception):
    """A pickle asks for something that no program needs. The message goes after 'a pickle that'."""


class Global(NamedTuple):
    """Something that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """A call that a pickle asks for, or an object of a class that it names.

    Attributes:
        function: what is called, or the class.
        arguments: of the call.
        state: what the object is filled with afterwards; None for nothing.
    """

    function: Global
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(eq=False)
class Persistent:
    """A reference to what lies outside the pickle: a storage of torch."""

    name: Any


def parts_of(value: object) -> Iterator[object]:
    """What a value holds, one level down."""
    match value:
        case Call():
            yield from value.arguments
            yield value.state
        case Persistent():
            yield value.name
        case dict():
            yield from value.keys()
            yield from value.values()
        case Global():
            pass
        case tuple() | list() | set():
            yield from value


def walk(value: object) -> Iterator[object]:
    """Everything in a value, each object once."""
    seen: dict[int, object] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            yield one
            waiting.extend(parts_of(one))


def check_extent(value: object) -> None:
    """Refuse a value that holds itself, is nested too deep, or repeats its parts without end.

    Raises:
        PickleRefusedError: it does one of these.
    """
    sizes: dict[int, int] = {}
    _weigh(value, sizes, 0)


def _weigh(value: object, sizes: dict[int, int], depth: int) -> int:
    if not isinstance(value, (Call, Persistent, dict, tuple, list, set)):
        return 1
    known = sizes.get(id(value))
    if known == 0:
        raise PickleRefusedError("holds a value that holds itself")
    if depth > _DEEPEST:
        raise PickleRefusedError(f"is nested deeper than {_DEEPEST} levels")
    if known is None:
        sizes[id(value)] = 0
        known = 1 + sum(_weigh(part, sizes, depth + 1) for part in parts_of(value))
        if known > _MOST_VALUES:
            raise PickleRefusedError(f"repeats its parts to more than {_MOST_VALUES:,} values")
        sizes[id(value)] = known
    return known
