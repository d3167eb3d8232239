"""Where the tensors of a pickle of torch live, changed in its bytes.

Every storage that a pickle refers to is a tuple ("storage", class, key, location, length). The location is one text,
written once and repeated by its number in the pickle's memo, which it may share with any text of the model that reads
the same. Source: torch/csrc/jit/serialization/pickler.cpp (pushStorageOfTensor); Lib/pickletools.py of Python.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from bnfold.errors import InternalError

_TEXTS = frozenset({"BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})


@dataclass(frozen=True)
class _Step:
    """One instruction.

    Attributes:
        name: of the instruction.
        argument: of it.
        raw: its bytes.
    """

    name: str
    argument: object
    raw: bytes


def relocated(pickle: bytes, locate: Callable[[str], str]) -> bytes:
    """The same pickle with its tensors elsewhere.

    Args:
        pickle: as torch wrote it.
        locate: of the key of a storage, the location that it gets.

    Raises:
        InternalError: torch wrote it in a way that this does not know.
    """
    steps = _steps(pickle)
    return _Relocation(steps, {place: locate(key) for place, key in _storages(steps)}).run()


def _steps(pickle: bytes) -> list[_Step]:
    found = list(pickletools.genops(pickle))
    starts = [place or 0 for _, _, place in found]
    return [
        _Step(opcode.name, argument, pickle[start:end])
        for (opcode, argument, _), start, end in zip(found, starts, [*starts[1:], len(pickle)], strict=True)
    ]


def _storages(steps: list[_Step]) -> list[tuple[int, str]]:
    """The step that gives each location, and the storage's key."""
    memo: dict[object, object] = {}
    found = []
    for place, step in enumerate(steps):
        if step.name in _PUTS:
            memo[step.argument] = _text(steps[place - 1], memo)
        elif step.name == "BINPERSID":
            length = _before(steps, _before(steps, place))
            location = _before(steps, length)
            key, text = _text(steps[_before(steps, location)], memo), _text(steps[location], memo)
            if not (isinstance(key, str) and isinstance(text, str)):
                raise InternalError("torch refers to a storage in another way than bnfold knows")
            found.append((location, key))
    return found


def _before(steps: list[_Step], place: int) -> int:
    """The step before one, those left out that only number what is there."""
    place -= 1
    while steps[place].name in _PUTS:
        place -= 1
    return place


def _text(step: _Step, memo: dict[object, object]) -> object:
    return memo.get(step.argument) if step.name in _GETS else step.argument if step.name in _TEXTS else None


@dataclass
class _Relocation:
    """Writes the steps again, every location in full."""

    steps: list[_Step]
    locations: dict[int, str]
    _unwritten: dict[object, _Step] = field(default_factory=dict)

    def run(self) -> bytes:
        written = bytearray()
        for place, step in enumerate(self.steps):
            written += self._written(place, step)
        return bytes(written)

    def _written(self, place: int, step: _Step) -> bytes:
        if place in self.locations:
            return _spelled(self.locations[place])
        if step.name in _PUTS and place - 1 in self.locations and self.steps[place - 1].name in _TEXTS:
            # The text itself gets its number where the model first uses it for something else.
            self._unwritten[step.argument] = self.steps[place - 1]
            return b""
        if step.name in _GETS and step.argument in self._unwritten:
            return self._unwritten.pop(step.argument).raw + _numbered(step.argument)
        return step.raw


def _spelled(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _numbered(number: object) -> bytes:
    if not isinstance(number, int):
        raise InternalError("torch numbers a text in another way than bnfold knows")
    return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)
