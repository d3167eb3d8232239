"""Pickles read without calling anything: what the instructions would build, as inert values.

A pickle is a small program. Here the instructions that torch writes are carried out on a stack of plain values; a
global stays its name, a call stays the function's name and its arguments. Any other instruction is refused by name.
The instructions: Lib/pickletools.py of Python; those that torch writes: torch/csrc/jit/serialization/pickler.cpp.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bnfold.errors import ModelFormatError
from bnfold.frontends.torch_archive.pickle_values import Call, Global, Persistent, PickleRefusedError, check_extent
from bnfold.frontends.torch_archive.zip_reader import Buffer

_MOST_INSTRUCTIONS = 2_000_000
_MOST_BYTES = 2**26
_LONGEST_INTEGER = 9


@dataclass
class _Machine:
    """The state of a pickle that is being carried out."""

    allows: Callable[[Global], bool]
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.marks.pop()
        return above

    def named(self, module: object, name: object) -> Global:
        found = Global(str(module), str(name))
        if not (type(module) is type(name) is str and self.allows(found)):
            raise PickleRefusedError(f"names {str(found)[:120]!r}, which is not a part of a program")
        return found


def read_pickle(data: Buffer, allows: Callable[[Global], bool]) -> Any:  # noqa: ANN401 - any inert value
    """What a pickle would build.

    Args:
        data: all of it.
        allows: whether a global may be named.

    Returns:
        None, truth values, numbers, texts, bytes, tuples, lists, dicts and sets of such, Global, Call and Persistent.

    Raises:
        PickleRefusedError: it asks for something that is not allowed.
        ModelFormatError: it is damaged, or larger than any that torch writes.
    """
    value = peek_pickle(data, allows)
    check_extent(value)
    return value


def peek_pickle(data: Buffer, allows: Callable[[Global], bool]) -> Any:  # noqa: ANN401 - any inert value
    """As `read_pickle`, for who only looks at the first levels: the value may hold itself, or be nested without end."""
    if len(data) > _MOST_BYTES:
        raise ModelFormatError(f"holds a pickle of {len(data):,} bytes, of which {_MOST_BYTES:,} are read")
    machine = _Machine(allows)
    try:
        _carry_out(machine, bytes(data))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelFormatError("holds a damaged pickle") from error
    if len(machine.stack) != 1 or machine.marks:
        raise ModelFormatError("holds a damaged pickle")
    return machine.stack[0]


def pickles_in(data: Buffer) -> list[bytes]:
    """The whole pickles that data begin with, one behind the other; the instructions in them are not carried out."""
    found: list[bytes] = []
    whole, start = bytes(data), 0
    while start < len(whole):
        try:
            end = next((place for opcode, _, place in pickletools.genops(whole[start:]) if opcode.name == "STOP"), None)
        except ValueError:  # cut off, or no pickle
            break
        if end is None:
            break
        found.append(whole[start : start + end + 1])
        start += end + 1
    return found


def _carry_out(machine: _Machine, data: bytes) -> None:
    end = 0
    for count, (opcode, argument, place) in enumerate(pickletools.genops(data)):
        if count > _MOST_INSTRUCTIONS:
            raise ModelFormatError(f"holds a pickle of more than {_MOST_INSTRUCTIONS:,} instructions")
        step = _STEPS.get(opcode.name)
        if step is None:
            raise PickleRefusedError(f"uses the instruction {opcode.name}, which torch does not write")
        step(machine, argument)
        end = (place or 0) + 1
    if end != len(data):
        raise ModelFormatError("holds a pickle with something behind its end")


def _push(machine: _Machine, value: object) -> None:
    machine.stack.append(value)


def _push_integer(machine: _Machine, value: int) -> None:
    if value.bit_length() >= 8 * _LONGEST_INTEGER:
        raise PickleRefusedError("holds an integer of more than 64 bits")
    machine.stack.append(value)


def _put(machine: _Machine, index: int) -> None:
    if index > _MOST_INSTRUCTIONS:
        raise PickleRefusedError(f"numbers a value {index:,}, further than torch counts")
    machine.memo[index] = machine.stack[-1]


def _memoize(machine: _Machine, _: object) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _tuple(machine: _Machine, length: int) -> None:
    if len(machine.stack) < length:
        raise ValueError("stack underflow")
    parts = tuple(machine.stack[-length:])
    del machine.stack[-length:]
    machine.stack.append(parts)


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        raise TypeError("append to what is no list")
    target.extend(items)


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Call) and target.function == Global("collections", "OrderedDict"):
        target.state = {} if target.state is None else target.state
        target = target.state
    if type(target) is not dict or len(items) % 2:
        raise TypeError("items of what is no dict")
    target.update(zip(items[::2], items[1::2], strict=True))


def _add_items(machine: _Machine, items: list[Any]) -> None:
    if type(machine.stack[-1]) is not set:
        raise TypeError("items of what is no set")
    machine.stack[-1].update(items)


def _global(machine: _Machine, argument: str) -> None:
    module, name = argument.split(" ")
    machine.stack.append(machine.named(module, name))


def _stack_global(machine: _Machine, _: object) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.named(module, name))


def _call(machine: _Machine, _: object) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    if not (isinstance(function, Global) and type(arguments) is tuple):
        raise PickleRefusedError("calls something that it does not name")
    machine.stack.append(Call(function, arguments))


def _build(machine: _Machine, _: object) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if not isinstance(target, Call) or (target.state is not None and type(target.state) is not dict):
        raise PickleRefusedError("fills something that is no object")
    if target.function != Global("collections", "OrderedDict"):  # whose attributes torch itself drops
        target.state = state


def _mark(machine: _Machine, _: object) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda _machine, _version: None,
    "FRAME": lambda _machine, _length: None,
    "STOP": lambda _machine, _nothing: None,
    "MARK": _mark,
    "NONE": lambda machine, _: _push(machine, None),
    "NEWTRUE": lambda machine, _: _push(machine, True),
    "NEWFALSE": lambda machine, _: _push(machine, False),
    "BININT": _push,
    "BININT1": _push,
    "BININT2": _push,
    "LONG1": _push_integer,
    "BINFLOAT": _push,
    "BINUNICODE": _push,
    "SHORT_BINUNICODE": _push,
    "BINUNICODE8": _push,
    "BINBYTES": _push,
    "SHORT_BINBYTES": _push,
    "EMPTY_TUPLE": lambda machine, _: _push(machine, ()),
    "EMPTY_LIST": lambda machine, _: _push(machine, []),
    "EMPTY_DICT": lambda machine, _: _push(machine, {}),
    "EMPTY_SET": lambda machine, _: _push(machine, set()),
    "TUPLE": lambda machine, _: _push_after(machine, tuple),
    "TUPLE1": lambda machine, _: _tuple(machine, 1),
    "TUPLE2": lambda machine, _: _tuple(machine, 2),
    "TUPLE3": lambda machine, _: _tuple(machine, 3),
    "APPEND": lambda machine, _: _append(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "SETITEM": lambda machine, _: _set_items(machine, _popped(machine, 2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, _: _add_items(machine, machine.since_mark()),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _memoize,
    "BINGET": lambda machine, index: _push(machine, machine.memo[index]),
    "LONG_BINGET": lambda machine, index: _push(machine, machine.memo[index]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "BINPERSID": lambda machine, _: _push(machine, Persistent(machine.stack.pop())),
}


def _push_after(machine: _Machine, made: Callable[[list[Any]], Any]) -> None:
    above = machine.since_mark()
    machine.stack.append(made(above))


def _popped(machine: _Machine, count: int) -> list[Any]:
    above = machine.stack[-count:]
    del machine.stack[-count:]
    return above
