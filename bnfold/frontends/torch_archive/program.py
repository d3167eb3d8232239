"""The JSON of an exported program, held against torch's own schema, every text in it against what it may become.

The schema is the dataclasses of torch._export.serde.schema: they say which keys an object has, and of which kind each
value is. `program_texts` says what a text may be, field by field; a field with a text that it does not name is refused.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import IntEnum
from functools import partial
from typing import Any

from torch._export.serde import schema
from torch._export.serde.union import _Union

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.expressions import plain_guard
from bnfold.frontends.torch_archive.json_kinds import (
    SCALARS,
    Check,
    dict_of,
    enumeration,
    is_text,
    list_of,
    object_of,
    optional,
    union_of,
)
from bnfold.frontends.torch_archive.operators import check_target
from bnfold.frontends.torch_archive.program_texts import allowed_keys, allowed_texts, check_node_metadata

# torch makes some ten kilobytes of each; networks of a thousand layers stay below ten thousand.
_MOST_CALLS = 50_000


class ProgramChecker:
    """Checks parts of exported programs.

    Args:
        imports: packages that the user named.
    """

    def __init__(self, imports: tuple[str, ...]) -> None:
        self._imports = imports
        self._checks: dict[Any, Check] = {}
        self._texts = allowed_texts(imports, self._check_target)
        self._calls = 0
        self._keys = allowed_keys()

    def check_program(self, tree: Any) -> None:  # noqa: ANN401 - any JSON
        """A whole program. Metadata that torch would ignore is dropped from it, conditions on inputs are respelled.

        Raises:
            ModelFormatError: it is not of torch's schema.
            UnsupportedModelError: it holds something that no program needs.
        """
        self._check(schema.ExportedProgram)(tree)
        tree["guards_code"] = [plain_guard(guard) for guard in tree.get("guards_code", [])]

    def _check_target(self, target: object) -> None:
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise ModelFormatError(f"calls more than {_MOST_CALLS:,} operators")
        check_target(target, self._imports)

    def check_payloads(self, tree: Any) -> None:  # noqa: ANN401 - any JSON
        """What belongs to each weight or constant.

        Raises:
            ModelFormatError, UnsupportedModelError: as for programs.
        """
        self._check(schema.PayloadConfig)(tree)

    def _check(self, kind: Any) -> Check:  # noqa: ANN401 - any annotation
        """The check of a type of the schema."""
        if kind not in self._checks:
            self._checks[kind] = lambda value: self._checks[kind](value)  # for a type that holds itself
            self._checks[kind] = self._made(kind)
        return self._checks[kind]

    def _made(self, kind: Any) -> Check:  # noqa: ANN401
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return partial(optional, self._check(next(part for part in parts if part is not types.NoneType)))
        if origin is list:
            return partial(list_of, self._check(parts[0]))
        if origin is dict:
            return partial(dict_of, is_text, self._check(parts[1]))
        if isinstance(kind, type) and issubclass(kind, IntEnum):
            return partial(enumeration, kind)
        if dataclasses.is_dataclass(kind):
            owner = typing.cast("type", kind)
            if issubclass(owner, _Union):
                return partial(union_of, owner.__name__, self._fields(owner))
            return partial(object_of, owner.__name__, self._fields(owner), _required(owner))
        return SCALARS[kind]

    def _fields(self, kind: type) -> Mapping[str, Check]:
        hints = typing.get_type_hints(kind)
        return {field.name: self._field(kind.__name__, field.name, hints[field.name]) for field in _fields_of(kind)}

    def _field(self, owner: str, name: str, hint: Any) -> Check:  # noqa: ANN401
        text = self._texts.get((owner, name))
        if (owner, name) == ("Node", "metadata"):
            return check_node_metadata
        if typing.get_origin(hint) is dict and (owner, name) in self._keys:
            return partial(dict_of, self._keys[owner, name], self._check(typing.get_args(hint)[1]))
        if text is None:
            return _unknown_text(owner, name) if _holds_text(hint) else self._check(hint)
        if hint is str:
            return text
        if typing.get_origin(hint) is list:
            return partial(list_of, text)
        if typing.get_origin(hint) is dict:
            return partial(dict_of, is_text, text)
        inner = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        return partial(optional, text if inner is str else partial(list_of, text))


def _fields_of(kind: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind)


def _required(kind: type) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(
        field.name for field in _fields_of(kind) if field.default is missing and field.default_factory is missing
    )


def _holds_text(hint: Any) -> bool:  # noqa: ANN401
    return hint is str or any(_holds_text(part) for part in typing.get_args(hint))


def _unknown_text(owner: str, name: str) -> Check:
    def refuse(value: object) -> None:
        if value:
            raise UnsupportedModelError(f"holds {owner}.{name}, which bnfold does not know yet")

    return refuse
