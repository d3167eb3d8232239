"""Programs that live on another device than the one at hand: read as programs of the CPU, written back as they were.

What says so are texts: the location of each storage, device constants in code, the devices in the JSON of an exported
program. Tensors are known again by their names. A new one lives where the one with the most similar name lives, which
is the weight that it was made for: bnfold calls a bias of layer.conv.weight layer.conv.bias, or layer_conv_bias where
that is taken.
"""

import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.zip_reader import Buffer, opened

_CPU = "cpu"


@dataclass(frozen=True)
class Locations:
    """Where tensors live.

    Attributes:
        known: locations as torch spells them, "cuda:0", by the names of tensors.
    """

    known: Mapping[str, str]

    @property
    def are_elsewhere(self) -> bool:
        """Whether any is not on the CPU."""
        return any(location != _CPU for location in self.known.values())

    @property
    def usual(self) -> str:
        """Where most of those live that are not on the CPU; there, if all are."""
        counts = Counter(location for location in self.known.values() if location != _CPU)
        return counts.most_common(1)[0][0] if counts else _CPU

    def of(self, name: str) -> str:
        """Where a tensor lives: a new one beside the one that has the longest beginning in common with it."""
        if name in self.known:
            return self.known[name]
        flat = _flat(name)
        alike = {other: _common(_flat(other), flat) for other in self.known}
        longest = max(alike.values(), default=0)
        nearest = {self.known[other] for other, length in alike.items() if length == longest > 0}
        return nearest.pop() if len(nearest) == 1 else self.usual


def _common(one: str, other: str) -> int:
    """How many characters two names begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _flat(name: str) -> str:
    return name.replace(".", "_")


def rewrite(path: Path, change: Callable[[Mapping[str, Buffer]], Mapping[str, Buffer]]) -> None:
    """Replace an archive that torch wrote by one with other parts.

    Args:
        path: of the archive.
        change: from its parts to those that it gets, by their names in the archive's folder.
    """
    with opened(path) as entries:
        folder = next(iter(entries)).partition("/")[0]
        parts = {name.removeprefix(f"{folder}/"): entry.content() for name, entry in entries.items()}
        archive = CleanArchive({f"{folder}/{name}": content for name, content in change(parts).items()})
        content = archive.read()
    path.write_bytes(content)


def add_parts(path: Path, parts: Mapping[str, bytes]) -> None:
    """Append parts to an archive that torch wrote, by their names in its folder. What is there is not read again."""
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), content)
