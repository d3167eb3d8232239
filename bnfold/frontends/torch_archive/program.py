"""The JSON of an exported program, held against torch's own schema, every text in it against what it may become.

The schema are the dataclasses of torch._export.serde.schema: which keys an object has and of which kind each value is.
What a text may be is said here, for every field that holds one; a field that is not named here is refused.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import partial
from typing import Any

from torch._export.serde import schema
from torch._export.serde.union import _Union

from bnfold.errors import BnfoldError, ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.expressions import check_size, is_symbol, plain_guard
from bnfold.frontends.torch_archive.json_text import read_json
from bnfold.frontends.torch_archive.names import is_dotted, is_path, is_variable
from bnfold.frontends.torch_archive.operators import check_target
from bnfold.frontends.torch_archive.treespecs import check_arguments, check_treespec

_LONGEST_TEXT = 2**20
# torch makes some ten kilobytes of each; networks of a thousand layers stay below ten thousand.
_MOST_CALLS = 50_000
_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu", "hpu", "xla", "mtia", "meta", "privateuseone"})
_VERIFIERS = frozenset({"", "ATEN", "TRAINING"})
_INFINITE = frozenset({"Infinity", "-Infinity", "NaN"})
_LARGEST = 2**63
_FUNCTION_OF_TORCH = re.compile(r"torch\.(nn|ops|_C\._nn|functional)(\.\w+)+|torch\.\w+|\w+", re.ASCII)

Check = Callable[[Any], None]


class ProgramChecker:
    """Checks parts of exported programs.

    Args:
        imports: packages that the user named.
    """

    def __init__(self, imports: tuple[str, ...]) -> None:
        self._imports = imports
        self._checks: dict[Any, Check] = {}
        self._texts = _texts(imports, self._check_target)
        self._calls = 0
        self._keys = _keys()

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
            made: Check | None = None
            self._checks[kind] = lambda value: _set(made)(value)  # for a type that holds itself
            made = self._made(kind)
            self._checks[kind] = made
        return self._checks[kind]

    def _made(self, kind: Any) -> Check:  # noqa: ANN401
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return partial(_optional, self._check(next(part for part in parts if part is not types.NoneType)))
        if origin is list:
            return partial(_list, self._check(parts[0]))
        if origin is dict:
            return partial(_dict, is_text, self._check(parts[1]))
        if isinstance(kind, type) and issubclass(kind, IntEnum):
            return partial(_enumeration, kind)
        if dataclasses.is_dataclass(kind):
            owner = typing.cast("type", kind)
            if issubclass(owner, _Union):
                return partial(_union, owner.__name__, self._fields(owner))
            return partial(_object, owner.__name__, self._fields(owner), _required(owner))
        return _SCALARS[kind]

    def _fields(self, kind: type) -> Mapping[str, Check]:
        hints = typing.get_type_hints(kind)
        return {field.name: self._field(kind.__name__, field.name, hints[field.name]) for field in _fields_of(kind)}

    def _field(self, owner: str, name: str, hint: Any) -> Check:  # noqa: ANN401
        text = self._texts.get((owner, name))
        if (owner, name) == ("Node", "metadata"):
            return _node_metadata
        if typing.get_origin(hint) is dict and (owner, name) in self._keys:
            return partial(_dict, self._keys[owner, name], self._check(typing.get_args(hint)[1]))
        if text is None:
            return _unknown_text(owner, name) if _holds_text(hint) else self._check(hint)
        if hint is str:
            return text
        if typing.get_origin(hint) is list:
            return partial(_list, text)
        if typing.get_origin(hint) is dict:
            return partial(_dict, is_text, text)
        inner = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        return partial(_optional, text if inner is str else partial(_list, text))


def _fields_of(kind: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind)


def _required(kind: type) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(
        field.name for field in _fields_of(kind) if field.default is missing and field.default_factory is missing
    )


def _set(check: Check | None) -> Check:
    assert check is not None
    return check


def _holds_text(hint: Any) -> bool:  # noqa: ANN401
    return hint is str or any(_holds_text(part) for part in typing.get_args(hint))


def _unknown_text(owner: str, name: str) -> Check:
    def refuse(value: object) -> None:
        if value:
            raise UnsupportedModelError(f"holds {owner}.{name}, which bnfold does not know yet")

    return refuse


# What a text may be


def is_text(value: object) -> bool:
    """Whether it is a text that becomes nothing but a text."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_one_of(allowed: frozenset[str], value: object) -> bool:
    return isinstance(value, str) and value in allowed


def _only(what: str, allows: Callable[[object], bool]) -> Check:
    def check(value: object) -> None:
        if not allows(value):
            raise UnsupportedModelError(
                f"holds {what} {str(value)[:80]!r}, which could become code: nothing in it was executed"
            )

    return check


def _guard(text: object) -> None:
    plain_guard(text)


def _texts(imports: tuple[str, ...], target: Check) -> Mapping[tuple[str, str], Check]:
    text = _only("the text", is_text)
    variable = _only("the name", is_variable)
    path = _only("the name", is_path)
    argument = _only("the name", lambda name: name == "" or (isinstance(name, str) and name.isidentifier()))
    checks: dict[Check, str] = {
        text: "Argument.as_string Argument.as_strings ConstantValue.as_string ExportedProgram.torch_version "
        "GraphModule.metadata PayloadMeta.path_name",
        variable: "SymIntArgument.as_name SymFloatArgument.as_name SymBoolArgument.as_name TensorArgument.name "
        "TokenArgument.name GraphArgument.name CustomObjArgument.name Node.name InputToConstantInputSpec.name "
        "GradientToUserInputSpec.user_input_name UserInputMutationSpec.user_input_name NamedTupleDef.field_names "
        "ModuleCallSignature.forward_arg_names",
        path: "InputToParameterSpec.parameter_name InputToBufferSpec.buffer_name "
        "InputToTensorConstantSpec.tensor_constant_name InputToCustomObjSpec.custom_obj_name "
        "BufferMutationSpec.buffer_name ParameterMutationSpec.parameter_name GradientToParameterSpec.parameter_name "
        "ModuleCallEntry.fqn",
        argument: "NamedArgument.name",
        _only("the class", is_dotted): "CustomObjArgument.class_fqn",
        _only("the device", partial(_is_one_of, _DEVICES)): "Device.type",
        _only("the dialect", partial(_is_one_of, _VERIFIERS)): "ExportedProgram.verifiers",
        check_size: "SymExpr.expr_str",
        target: "Node.target Argument.as_operator",
        partial(check_arguments, imports=imports): "ModuleCallSignature.in_spec",
        partial(check_treespec, imports=imports): "ModuleCallSignature.out_spec",
        _guard: "ExportedProgram.guards_code",
    }
    return {
        typing.cast("tuple[str, str]", tuple(field.split("."))): check
        for check, fields in checks.items()
        for field in fields.split()
    }


def _keys() -> Mapping[tuple[str, str], Callable[[object], bool]]:
    """What the keys of a dict may be."""
    values = ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values")
    return {
        **{("Graph", name): is_variable for name in values},
        ("ExportedProgram", "opset_version"): is_dotted,
        ("ExportedProgram", "range_constraints"): is_symbol,
        ("GraphModule", "treespec_namedtuple_fields"): is_dotted,
        ("PayloadConfig", "config"): is_path,
    }


# What a node remembers of its origin: texts, which torch keeps beside the graph


def _node_metadata(value: object) -> None:
    _dict(is_text, _only("the text", is_text), value)
    metadata = typing.cast("dict[str, str]", value)
    for key in list(metadata):
        if not _is_harmless(key, metadata[key]):
            del metadata[key]


def _is_harmless(key: str, text: str) -> bool:
    """Whether torch knows it and only keeps it; sources of functions are looked up in torch itself."""
    if key in ("stack_trace", "nn_module_stack", "torch_fn"):
        return True
    if key == "source_fn_stack":
        return all(_FUNCTION_OF_TORCH.fullmatch(entry.partition(",")[2]) for entry in text.split(";"))
    if key in ("custom", "from_node"):
        try:
            read_json(key, text.encode(errors="replace"), most_parts=100_000)
        except BnfoldError:
            return False
        return True
    return False


# Kinds of values


def _wrong(expected: str, value: object) -> ModelFormatError:
    return ModelFormatError(f"is not of torch's schema: expected {expected}, got {str(value)[:80]!r}")


def _optional(check: Check, value: object) -> None:
    if value is not None:
        check(value)


def _list(check: Check, value: object) -> None:
    if not isinstance(value, list):
        raise _wrong("a list", value)
    for element in value:
        check(element)


def _dict(allows: Callable[[object], bool], check: Check, value: object) -> None:
    if not isinstance(value, dict):
        raise _wrong("an object", value)
    for key, element in value.items():
        if not allows(key):
            raise UnsupportedModelError(
                f"holds the name {str(key)[:80]!r}, which could become code: nothing in it was executed"
            )
        check(element)


def _enumeration(kind: type[IntEnum], value: object) -> None:
    if type(value) is not int or value not in kind._value2member_map_:
        raise _wrong(f"a {kind.__name__}", value)


def _object(name: str, fields: Mapping[str, Check], required: frozenset[str], value: object) -> None:
    if not isinstance(value, dict) or not required <= value.keys():
        raise _wrong(f"a {name}", value)
    for key, element in value.items():
        if key not in fields:
            raise ModelFormatError(
                f"is not of torch's schema: its {name} has {str(key)[:80]!r}, which this version of torch does not know"
            )
        fields[key](element)


def _union(name: str, fields: Mapping[str, Check], value: object) -> None:
    if not (isinstance(value, dict) and len(value) == 1):
        raise _wrong(f"one kind of {name}", value)
    _object(name, fields, frozenset(), value)


def _integer(value: object) -> None:
    if type(value) is not int or not -_LARGEST <= value < 2 * _LARGEST:
        raise _wrong("a whole number", value)


def _number(value: object) -> None:
    if type(value) not in (int, float) and not _is_one_of(_INFINITE, value):
        raise _wrong("a number", value)


def _truth(value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)


_SCALARS: Mapping[Any, Check] = {int: _integer, float: _number, bool: _truth, str: _only("the text", is_text)}
