"""Kinds of JSON values, each as a check that raises.

ModelFormatError says that a value is not of its kind, UnsupportedModelError that a text in it could become code.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, TypeAlias

from bnfold.errors import ModelFormatError, UnsupportedModelError

_LONGEST_TEXT = 2**20
_INFINITE = frozenset({"Infinity", "-Infinity", "NaN"})
_LARGEST = 2**63

Check: TypeAlias = Callable[[Any], None]


def is_text(value: object) -> bool:
    """Whether it is a text that becomes nothing but a text."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def is_one_of(allowed: frozenset[str], value: object) -> bool:
    """Whether it is one of these texts."""
    return isinstance(value, str) and value in allowed


def only(what: str, allows: Callable[[object], bool]) -> Check:
    """A text of which `allows` says that it is `what` it should be."""

    def check(value: object) -> None:
        if not allows(value):
            raise UnsupportedModelError(
                f"holds {what} {str(value)[:80]!r}, which could become code: nothing in it was executed"
            )

    return check


def wrong(expected: str, value: object) -> ModelFormatError:
    """A value of another kind than expected."""
    return ModelFormatError(f"is not of torch's schema: expected {expected}, got {str(value)[:80]!r}")


def optional(check: Check, value: object) -> None:
    """Null, or what another check takes."""
    if value is not None:
        check(value)


def list_of(check: Check, value: object) -> None:
    """A list of such values."""
    if not isinstance(value, list):
        raise wrong("a list", value)
    for element in value:
        check(element)


def dict_of(allows: Callable[[object], bool], check: Check, value: object) -> None:
    """An object with any keys that are allowed, and such values."""
    if not isinstance(value, dict):
        raise wrong("an object", value)
    for key, element in value.items():
        if not allows(key):
            raise UnsupportedModelError(
                f"holds the name {str(key)[:80]!r}, which could become code: nothing in it was executed"
            )
        check(element)


def enumeration(kind: type[IntEnum], value: object) -> None:
    """The number of a member of an enumeration."""
    if type(value) is not int or value not in kind._value2member_map_:
        raise wrong(f"a {kind.__name__}", value)


def object_of(name: str, fields: Mapping[str, Check], required: frozenset[str], value: object) -> None:
    """An object with these fields, of which some may be absent."""
    if not isinstance(value, dict) or not required <= value.keys():
        raise wrong(f"a {name}", value)
    for key, element in value.items():
        if key not in fields:
            raise ModelFormatError(
                f"is not of torch's schema: its {name} has {str(key)[:80]!r}, which this version of torch does not know"
            )
        fields[key](element)


def union_of(name: str, fields: Mapping[str, Check], value: object) -> None:
    """An object with exactly one of these fields."""
    if not (isinstance(value, dict) and len(value) == 1):
        raise wrong(f"one kind of {name}", value)
    object_of(name, fields, frozenset(), value)


def _integer(value: object) -> None:
    if type(value) is not int or not -_LARGEST <= value < 2 * _LARGEST:
        raise wrong("a whole number", value)


def _number(value: object) -> None:
    if type(value) not in (int, float) and not is_one_of(_INFINITE, value):
        raise wrong("a number", value)


def _truth(value: object) -> None:
    if not isinstance(value, bool):
        raise wrong("true or false", value)


SCALARS: Mapping[Any, Check] = {int: _integer, float: _number, bool: _truth, str: only("the text", is_text)}
