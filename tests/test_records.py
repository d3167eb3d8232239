"""Dataclasses of `bnfold.records` do what those of the standard library do."""

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from bnfold import FoldOptions, VerifyOptions
from bnfold.records import dataclass as lean


def _classes(decorate: Any) -> dict[str, Any]:
    """Classes of every kind that bnfold has, made by a decorator."""

    @decorate(frozen=True)
    class Point:
        x: int
        y: float = 2.0
        names: dict[str, int] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @decorate(frozen=True)
    class Further(Point):
        z: int = 3

    @decorate
    class Open:
        x: int = 1

    @decorate(frozen=True, eq=False)
    class Same:
        x: int

    @decorate(frozen=True, repr=False)
    class Quiet:
        x: int

    @decorate(eq=False)
    class Finished:
        x: int
        twice: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.twice = 2 * self.x

    @decorate(frozen=True)
    class Own:
        x: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    @decorate(frozen=True)
    class Empty:
        """Has no field."""

    return {made.__name__: made for made in (Point, Further, Open, Same, Quiet, Finished, Own, Empty)}


LEAN, STANDARD = _classes(lean), _classes(dataclasses.dataclass)
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 5.0), {}),
    ((1, 5.0, {"a": 1}), {}),
    ((1, 5.0, {"a": 1}, 4), {}),
    ((1, 5.0, {}, 4, 5), {}),
    ((), {"x": 1}),
    ((1,), {"y": 7.0}),
    ((1,), {"z": 9}),
    ((1,), {"x": 1}),
    ((), {"y": 7.0, "x": 1}),
    ((1,), {"unknown": 1}),
]


def outcome(act: Any) -> Any:
    """What comes of it, with the name of the error in place of one."""
    try:
        return act()
    except Exception as error:
        return type(error).__name__


def seen(value: Any) -> tuple[Any, ...]:
    """All that can be told of an object."""
    if isinstance(value, str):
        return (value,)
    text = repr(value)
    return (
        dataclasses.asdict(value),
        vars(value),
        " at 0x" in text or text.replace("_classes.<locals>.", ""),
        outcome(lambda: hash(value) == hash(copy.copy(value))),
        value == copy.copy(value),
        outcome(lambda: setattr(value, "x", 2)),
        outcome(lambda: delattr(value, "x")),
    )


@pytest.mark.parametrize("name", LEAN)
@pytest.mark.parametrize(("values", "named"), CALLS)
def test_objects_are_those_of_the_standard_library(name, values, named):
    ours, theirs = (outcome(lambda kind=kind: kind[name](*values, **named)) for kind in (LEAN, STANDARD))
    assert seen(ours) == seen(theirs)


@pytest.mark.parametrize("name", LEAN)
def test_classes_are_those_of_the_standard_library(name):
    ours, theirs = LEAN[name], STANDARD[name]
    assert [(entry.name, entry.type) for entry in dataclasses.fields(ours)] == [
        (entry.name, entry.type) for entry in dataclasses.fields(theirs)
    ]
    assert ours.__match_args__ == theirs.__match_args__
    names, others = (inspect.signature(kind).parameters for kind in (ours, theirs))
    assert list(names) == list(others)
    assert [entry.kind for entry in names.values()] == [entry.kind for entry in others.values()]
    assert [entry.default is entry.empty for entry in names.values()] == [
        entry.default is entry.empty for entry in others.values()
    ]


def test_two_objects_are_equal_by_what_is_compared_and_of_one_class_alone():
    point, further = LEAN["Point"], LEAN["Further"]
    assert point(1, names={"a": 1}) == point(1)
    assert hash(point(1, names={"a": 1})) == hash(point(1))
    assert point(1) != point(2)
    assert point(1, 2.0) != further(1, 2.0)
    assert LEAN["Same"](1) != LEAN["Same"](1)


def test_a_default_is_made_anew_for_every_object():
    first, second = LEAN["Point"](1), LEAN["Point"](1)
    assert first.names is not second.names


def test_patterns_and_replace_know_them():
    match LEAN["Point"](1, 5.0):
        case LEAN_POINT(x, y):
            assert (x, y) == (1, 5.0)
    assert dataclasses.replace(LEAN["Further"](1), y=9.0) == LEAN["Further"](1, 9.0)


LEAN_POINT = LEAN["Point"]


def test_an_object_that_holds_itself_can_be_shown():
    held: list[Any] = []
    point = LEAN["Point"](held)
    held.append(point)
    assert "x=[...]" in repr(point)


def test_what_is_public_can_be_pickled_and_asked_for_its_parameters():
    options = FoldOptions(verify=VerifyOptions(samples=3))
    assert pickle.loads(pickle.dumps(options)) == options
    assert list(inspect.signature(FoldOptions).parameters) == [entry.name for entry in dataclasses.fields(FoldOptions)]
