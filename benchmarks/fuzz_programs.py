"""Damaged and hostile programs of PyTorch for `benchmarks.fuzz`: good archives with parts, headers or bytes changed.

Checksums are made right again behind a change of a part, since a wrong one ends all reading.
"""

import copy
import io
import json
import pickletools
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fuzz_bytes import NUMBERS, TEXTS, mutate_bytes
from tests.attacks.zips import Raw, archive

_IMAGE = "x=2,3,8,8"
_SHAPES = {"branches.pt": "x=2,4,8,8", "enumeration.pt": _IMAGE, "structured.pt": _IMAGE, "quantized.pt": _IMAGE}
"""Of scripts, which do not say it themselves."""
_VALUES = (0.0, -0.0, 1.0, -1.0, 1e-40, 1e-30, 1e30, 3e38, float("inf"), float("-inf"), float("nan"), 0.125)


def make_bases(folder: Path) -> None:
    """Write the good programs: exported, scripted, traced and quantized ones. torch is imported here alone."""
    import torch
    from torch import nn

    from tests.torch_export.folding import export
    from tests.torch_modules import randomised
    from tests.torchscript.folding import compiled, deprecations_silenced
    from tests.torchscript.modules import Branches, ChoosesByEnum, Structured

    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    plain = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    dynamic = ({0: torch.export.Dim("batch", min=2, max=8)},)
    torch.export.save(export(plain, x, dynamic_shapes=dynamic), folder / "plain.pt2")
    torch.export.save(export(plain, x, decomposed=True), folder / "decomposed.pt2")
    torch.export.save(export(randomised(Structured()), x), folder / "structured.pt2")
    torch.export.save(export(randomised(_choice(torch, nn)), x), folder / "choice.pt2")
    with deprecations_silenced():
        torch.jit.save(compiled(plain, "traced", x), folder / "traced.pt")
        torch.jit.save(compiled(plain, "frozen", x), folder / "frozen.pt")
        for name, module in (("branches", Branches()), ("enumeration", ChoosesByEnum()), ("structured", Structured())):
            torch.jit.save(compiled(randomised(module), "scripted"), folder / f"{name}.pt")
        if "fbgemm" in torch.backends.quantized.supported_engines:
            torch.jit.save(compiled(_quantized(torch, nn, x), "scripted"), folder / "quantized.pt")


def _choice(torch: Any, nn: Any) -> Any:  # noqa: ANN401 - torch is not imported where types are read
    """A module with a branch of torch.cond, a BatchNorm in either arm."""

    class Choice(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
            self.right = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

        def forward(self, x: Any) -> Any:  # noqa: ANN401 - as above
            return torch.cond(x.sum() > 0, self.left, self.right, (x,))

    return Choice()


def _quantized(torch: Any, nn: Any, x: Any) -> Any:  # noqa: ANN401 - as above
    quantization = torch.ao.quantization
    stubs = quantization.QuantStub(), quantization.DeQuantStub()
    module = nn.Sequential(stubs[0], nn.Conv2d(3, 4, 3), nn.ReLU(), stubs[1], nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    module.eval()
    module[4].qconfig = module[5].qconfig = None
    module.qconfig = quantization.get_default_qconfig("fbgemm")
    quantization.prepare(module, inplace=True)
    module(x)
    return quantization.convert(module, inplace=True)


@dataclass(frozen=True)
class Program:
    """A file to fold.

    Attributes:
        name: of the file, with the ending of its format.
        content: its bytes.
        options: of the command.
    """

    name: str
    content: bytes
    options: tuple[str, ...]


def case(seed: int, bases: Path) -> Program:
    """The program of a seed, made of one of the good ones in a folder."""
    rng = random.Random(seed)
    base = rng.choice(sorted(bases.iterdir()))
    shape = ("--shape", _SHAPES[base.name]) if base.name in _SHAPES else ()
    data = base.read_bytes()
    way = rng.random()
    if way < 0.04:
        data = mutate_bytes(data, rng)
    else:
        entries = _entries(data)
        if way < 0.92:
            for _ in range(rng.choice([1, 1, 1, 2, 4])):
                _mutate_part(entries, rng)
        if way > 0.86:
            _mutate_entries(entries, rng)
        data = archive(entries)
    return Program(f"model{base.suffix}", data, shape)


def _entries(data: bytes) -> list[Raw]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return [Raw(name, opened.read(name)) for name in opened.namelist()]


def _mutate_entries(entries: list[Raw], rng: random.Random) -> None:
    """Change what the headers say, which entries there are, or in which order."""
    entry = rng.choice(entries)
    match rng.randrange(6):
        case 0:
            entries.remove(entry)
        case 1:
            entries.append(replace(entry))
        case 2:
            entries.insert(0, entries.pop())
        case 3:
            entry.name = rng.choice([*TEXTS, rng.choice(entries).name + "x", entry.name.upper(), entry.name + "/"])
        case 4:
            entry.deflate = True
        case _:
            field, values = rng.choice(_HEADERS)
            setattr(entry, field, rng.choice(values))


_HEADERS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("local_name", ("", "x", "../x")),
    ("local_size", (0, 1, 2**31, 2**32 - 1)),
    ("local_crc", (0, 1)),
    ("crc", (0, 1)),
    ("size", (0, 1, 2**31, 2**32 - 1)),
    ("method", (1, 8, 12, 65535)),
    ("flags", (0, 1, 8, 0x808, 0xFFFF)),
    ("offset", (0, 1, 2**32 - 1)),
    ("extra", (b"\1\0\0\0", b"\1\0\x18\0" + b"\xff" * 24, b"\x75\x70\x04\x00evil", b"\1")),
)


def _mutate_part(entries: list[Raw], rng: random.Random) -> None:
    """Change what one entry holds, by what it is."""
    entry = rng.choice(entries)
    if rng.random() < 0.5:  # the structure is in few parts, and the weights are in many
        entry = rng.choice([one for one in entries if one.name.endswith((".json", ".pkl", ".py", ".pt"))])
    if entry.data[:4] == b"PK\3\4":
        inner = _entries(entry.data)
        _mutate_part(inner, rng)
        entry.data = archive(inner)
        return
    entry.data = _mutation_of(entry.name)(entry.data, rng)


def _mutation_of(name: str) -> Callable[[bytes, random.Random], bytes]:
    by_ending = {"json": mutate_json, "pkl": mutate_pickle, "py": mutate_code}
    return by_ending.get(name.rpartition(".")[2], _mutate_data)


def _mutate_data(data: bytes, rng: random.Random) -> bytes:
    """Numbers of a storage, mostly as many as before; an empty one gets some."""
    match rng.randrange(12):
        case 0:
            return data[: rng.randrange(len(data) + 1)]
        case 1:
            return data + bytes(rng.choice([1, 4, 4096]))
        case 2:
            return rng.choice(TEXTS).encode()
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice([1, 4, 16])):
        place = rng.randrange(len(changed))
        changed[place : place + 4] = struct.pack("<f", rng.choice(_VALUES))[: len(changed) - place]
    return bytes(changed)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change one value somewhere in a tree of JSON."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):  # changed before
        return mutate_bytes(data, rng)
    places = list(_places(tree))
    if not places or rng.random() < 0.02:
        return rng.choice([b"", b"[]", b"null", b"[" * 200_000, b"1e999", b"{" + data, b"9" * 5000])
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del holder[key]
        case 1:
            other, there = rng.choice(places)
            holder[key] = copy.deepcopy(other[there])
        case 2 if isinstance(holder, list):
            holder.extend([copy.deepcopy(holder[key])] * rng.choice([1, 1, 50]))
        case 3 if isinstance(holder[key], int):
            holder[key] += rng.choice([-1, 1, 64])
        case _:
            holder[key] = rng.choice([*NUMBERS, *TEXTS, None, True, 0.5, float("nan"), [], {}, [[]], {"": 1}])
    return json.dumps(tree).encode()


def _places(tree: object) -> Iterator[tuple[Any, Any]]:
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            waiting.append(holder[key])  # type: ignore[index]


def mutate_pickle(data: bytes, rng: random.Random) -> bytes:
    """Change a number or a text of a pickle; take out, double or exchange its instructions; or change its bytes."""
    try:
        starts = [place for _, _, place in pickletools.genops(data) if place is not None]
    except Exception:  # changed before: whatever pickletools makes of that
        starts = []
    if len(starts) < 2 or rng.random() < 0.1:
        return mutate_bytes(data, rng)
    pieces = [data[start:stop] for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)]
    place, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    match rng.randrange(8):
        case 0:
            del pieces[place : place + rng.choice([1, 1, 3])]
        case 1:
            pieces[place:place] = [pieces[place]] * rng.choice([1, 1, 1000])
        case 2:
            pieces[place], pieces[other] = pieces[other], pieces[place]
        case 3:
            pieces[place] = pieces[other]
        case _:
            _mutate_value(pieces, rng)
    return b"".join(pieces)


def _mutate_value(pieces: list[bytes], rng: random.Random) -> None:
    """Change an argument of one instruction, so that the pickle is still one."""
    texts, numbers = ([index for index, piece in enumerate(pieces) if piece[:1] in kinds] for kinds in (b"X", b"KMJ"))
    if texts and (rng.random() < 0.5 or not numbers):
        place = rng.choice(texts)
        text = rng.choice([pieces[rng.choice(texts)][5:], rng.choice(TEXTS).encode(), pieces[place][5:] * 2])
        pieces[place] = b"X" + struct.pack("<I", len(text)) + text
    elif numbers:
        number = rng.choice([*NUMBERS, *range(6)])
        pieces[rng.choice(numbers)] = b"J" + struct.pack("<i", max(min(number, 2**31 - 1), -(2**31)))


def mutate_code(data: bytes, rng: random.Random) -> bytes:
    """Change a word or a line of TorchScript's code."""
    text = data.decode(errors="replace")
    if rng.random() < 0.3:
        lines = text.splitlines(keepends=True) or [""]
        place = rng.randrange(len(lines))
        lines[place : place + 1] = rng.choice([[], [lines[place]] * 2, [rng.choice(lines)], ["    " + lines[place]]])
        return "".join(lines).encode()
    words = re.findall(r"\w+|\s+|[^\w\s]", text)
    if not words:
        return rng.choice(TEXTS).encode()
    place = rng.randrange(len(words))
    words[place] = rng.choice(["", words[place] * 2, rng.choice(words), str(rng.choice(NUMBERS)), rng.choice(TEXTS)])
    return "".join(words).encode()
