"""What kind of value an option takes: told at once, and not by whatever it meets first inside."""

import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from bnfold.errors import UsageError


class Kind(NamedTuple):
    """Values of one kind.

    Attributes:
        expected: what they are called in a message.
        holds: whether a value is one.
    """

    expected: str
    holds: Callable[[Any], bool]


def check_kinds(options: object, kinds: Mapping[str, Kind]) -> None:
    """Refuse options of which a field holds a value of another kind.

    Args:
        options: an object with these fields.
        kinds: of its fields, by their names.

    Raises:
        UsageError: one holds another kind.
    """
    for name, kind in kinds.items():
        value = getattr(options, name)
        if not kind.holds(value):
            raise UsageError(f"{name} must be {kind.expected}, got {reprlib.repr(value)}")


def _is_flag(value: object) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # Python's, and NumPy's


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not _is_flag(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not _is_flag(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_wholes(value: object) -> bool:
    return isinstance(value, Sequence) and all(map(_is_whole, value))


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _are_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not _is_text(value) and all(map(_is_text, value))


def _by_name(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(holds, value.values()))


FLAG = Kind("True or False", _is_flag)
WHOLE = Kind("a whole number", _is_whole)
NUMBER_OR_NONE = Kind("a number or None", lambda value: value is None or _is_number(value))
TEXT = Kind("a string", _is_text)
TEXTS = Kind("a sequence of strings", _are_texts)
PATH_OR_NONE = Kind("a path or None", lambda value: value is None or isinstance(value, str | os.PathLike))
WHOLES = Kind("a sequence of whole numbers", _are_wholes)
NUMBER = Kind("a number", _is_number)
SHAPES = Kind("shapes by name, such as {'image': (1, 3, 224, 224)}", _by_name(_are_wholes))
SIZES = Kind("sizes by name, such as {'batch': 4}", _by_name(_is_whole))
ARRAYS = Kind("arrays of NumPy by name", _by_name(_is_array))
