"""Dataclasses that cost little to define.

The standard decorator writes each method out as source text and compiles it: 0.35 ms for a frozen class, every time a
process starts. bnfold has more than two hundred, of which a call makes a few dozen. The methods here are shared by all
classes and compiled with this file. What the standard library knows of a dataclass (`fields`, `replace`, `asdict`,
patterns of `match`) it knows of these, because it collects the fields; type checkers see its own decorator.

Making an object takes a little longer, where fields are named or left out up to two times. So the few classes of
which a graph has many thousands (`Affine`, `OnnxValue`, `Sides`) take the standard decorator; so does the verifier.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from inspect import Signature
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, repr=True):  # noqa: A002, ANN001, ANN201
        """`dataclasses.dataclass`; of its options those that bnfold uses."""

        def define(cls):  # noqa: ANN001, ANN202
            dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            fields = dataclasses.fields(cls)
            methods = _making(cls, fields)
            if repr:
                methods["__repr__"] = _naming(tuple(field.name for field in fields if field.repr))
            if eq:
                compared = [field.name for field in fields if field.compare]
                methods |= _comparing(attrgetter(*compared) if compared else type, frozen=frozen)
            if frozen:
                methods |= {"__setattr__": _set_nothing, "__delattr__": _delete_nothing}
            for name, method in methods.items():
                if name not in cls.__dict__:
                    setattr(cls, name, method)
            return cls

        return define if cls is None else define(cls)


def _making(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> dict[str, object]:
    given = [field for field in fields if field.init]
    names = tuple(field.name for field in given)
    goes_on = hasattr(cls, "__post_init__")
    assign = object.__setattr__

    def __init__(self: Any, *values: object, **named: object) -> None:  # noqa: ANN401, N807
        if named or len(values) != len(names):
            values = _bound(cls, given, values, named)
        for name, value in zip(names, values):  # noqa: B905 - they are equally long, and this is quicker
            assign(self, name, value)
        if goes_on:
            self.__post_init__()

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return {"__init__": __init__, "__signature__": _Signature()}


def _bound(
    cls: type, fields: list[dataclasses.Field[Any]], values: tuple[object, ...], named: dict[str, object]
) -> tuple[object, ...]:
    """What each field is given, or its default.

    Raises:
        TypeError: too little, too much, or something twice.
    """
    bound = list(values)
    missing = []
    for field in fields[len(values) :]:
        if field.name in named:
            bound.append(named.pop(field.name))
        elif field.default is not dataclasses.MISSING:
            bound.append(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            bound.append(field.default_factory())
        else:
            missing.append(field.name)
    if missing:
        raise TypeError(f"{cls.__qualname__}() is given no {', '.join(missing)}")
    if named:
        raise TypeError(f"{cls.__qualname__}() is given {', '.join(named)} twice, or does not know it")
    if len(bound) > len(fields):
        raise TypeError(f"{cls.__qualname__}() takes {len(fields)} values, not {len(bound)}")
    return tuple(bound)


class _Signature:
    """How a class is called, for `help` and editors: made when somebody asks."""

    def __get__(self, _: object, cls: type) -> "Signature":
        from inspect import Parameter, Signature

        kind, nothing = Parameter.POSITIONAL_OR_KEYWORD, dataclasses.MISSING
        parameters = []
        for field in dataclasses.fields(cls):
            default = field.default if field.default_factory is nothing else field.default_factory
            wanted = Parameter.empty if default is nothing else default
            if field.init:
                parameters.append(Parameter(field.name, kind, default=wanted, annotation=field.type))
        return Signature(parameters, return_annotation=None)


def _naming(names: tuple[str, ...]) -> object:
    @recursive_repr("...")
    def __repr__(self: object) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _comparing(values: Callable[[object], object], *, frozen: bool) -> dict[str, object]:
    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}


def _set_nothing(_: object, name: str, __: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete_nothing(_: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
