"""The devices of a TorchScript file: locations of storages in its pickles, and constants in its code.

A constant such as torch.device("cuda:0") becomes a CPU with a number that torch does not look at, cpu:2, which no
program has: so it runs on the CPU, and is found again in what torch writes, wherever folding has moved it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from bnfold.errors import UnsupportedModelError
from bnfold.frontends.torch_archive.devices import Locations
from bnfold.frontends.torch_archive.locations import relocated
from bnfold.frontends.torch_archive.pickle_values import Call, Persistent
from bnfold.frontends.torch_archive.pickles import read_pickle
from bnfold.frontends.torch_archive.scripts import CleanScript
from bnfold.frontends.torch_archive.zip_reader import Buffer

_OBJECTS, _CONSTANTS = "data.pkl", "constants.pkl"
_DEVICE = re.compile(r'torch\.device\("(\w+)(?::(\d+)|", (\d+))?("?)\)')
_KINDS = ("cuda", "mps", "xpu", "hpu", "xla", "mtia")
_Spelling: TypeAlias = Callable[[str, int | None], tuple[str, int | None]]
_PER_KIND = 20  # numbers of devices; torch counts up to 127 in all


@dataclass(frozen=True)
class ScriptDevices:
    """The devices of one file.

    Attributes:
        objects: of the tensors that modules hold, by their dotted names.
        constants: of those in the code, by their bytes.
    """

    objects: Locations
    constants: Locations

    def restored(self, parts: Mapping[str, Buffer]) -> dict[str, Buffer]:
        """Parts of a new file with the devices of this one.

        Args:
            parts: as torch wrote them on the CPU.
        """
        new = {
            name: _with_devices(content, _original) if _is_code(name) else content for name, content in parts.items()
        }
        names = {key: name for name, (key, _) in storages_in(parts[_OBJECTS]).items()}
        new[_OBJECTS] = relocated(bytes(parts[_OBJECTS]), lambda key: self.objects.of(names[key]))
        contents = _contents(parts)
        new[_CONSTANTS] = relocated(bytes(parts[_CONSTANTS]), lambda key: self._constant(contents[key]))
        return new

    def _constant(self, content: str) -> str:
        if content in self.constants.known:
            return self.constants.known[content]
        several = {*self.constants.known.values(), *self.objects.known.values()} - {"cpu"}
        if len(several) > 1:
            raise UnsupportedModelError(f"holds constants on several devices ({', '.join(sorted(several))})")
        return self.constants.usual if self.constants.are_elsewhere else self.objects.usual


def devices_of(script: CleanScript) -> ScriptDevices | None:
    """The devices of a file; None where it knows the CPU alone."""
    objects = Locations({name: location for name, (_, location) in storages_in(script.parts[_OBJECTS]).items()})
    located = dict(storages_in(script.parts[_CONSTANTS]).values())
    constants = Locations({_contents(script.parts)[key]: location for key, location in located.items()})
    names = any(_is_code(name) and _names_device(content) for name, content in script.parts.items())
    if not (objects.are_elsewhere or constants.are_elsewhere or names):
        return None
    return ScriptDevices(objects, constants)


def on_the_cpu(script: CleanScript) -> CleanScript:
    """The same file for the CPU: torch maps its storages while it reads them, but not the constants in its code."""
    return replace(script, parts=_with_code(script.parts, _stand_in))


def storages_in(pickle: Buffer) -> dict[str, tuple[str, str]]:
    """The storage's key and location of each tensor, by its dotted name."""
    return dict(_tensors(read_pickle(pickle, lambda _: True), ()))


def _tensors(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, str]]]:
    parts: Mapping[object, object] = {}
    match value:
        case Call(arguments=(Persistent(name=(_, _, str(key), str(location), *_)), *_)):
            yield ".".join(path), (key, location)
        case Call(state=dict(attributes)):
            parts = attributes
        case Call(arguments=arguments):
            parts = dict(enumerate(arguments))
        case dict():
            parts = value
        case list() | tuple():
            parts = dict(enumerate(value))
    for name, part in parts.items():
        yield from _tensors(part, (*path, str(name)))


def _contents(parts: Mapping[str, Buffer]) -> dict[str, str]:
    """The bytes of each constant as a text, by its storage's key."""
    folder = "constants/"
    return {name.removeprefix(folder): bytes(part).hex() for name, part in parts.items() if name.startswith(folder)}


def _is_code(name: str) -> bool:
    return name.startswith("code/") and name.endswith(".py")


def _names_device(content: Buffer) -> bool:
    return any(found[1] in _KINDS for found in _DEVICE.finditer(bytes(content).decode()))


def _with_code(parts: Mapping[str, Buffer], spelling: _Spelling) -> dict[str, Buffer]:
    """The same parts, with other devices in the code."""
    return {name: _with_devices(part, spelling) if _is_code(name) else part for name, part in parts.items()}


def _with_devices(content: Buffer, spelling: _Spelling) -> bytes:
    def changed(found: re.Match[str]) -> str:
        number = found[2] or found[3]
        kind, new = spelling(found[1], None if number is None else int(number))
        return f'torch.device("{kind}")' if new is None else f'torch.device("{kind}:{new}")'

    return _DEVICE.sub(changed, bytes(content).decode()).encode()


def _stand_in(kind: str, number: int | None) -> tuple[str, int | None]:
    if kind not in _KINDS or (number or 0) >= _PER_KIND - 1:
        return kind, number
    return "cpu", 1 + _KINDS.index(kind) * _PER_KIND + (0 if number is None else number + 1)


def _original(kind: str, number: int | None) -> tuple[str, int | None]:
    if kind != "cpu" or not number:
        return kind, number
    place, own = divmod(number - 1, _PER_KIND)
    return _KINDS[place], None if own == 0 else own - 1
