"""The headers of a zip: its end, its directory, what stands around the data of each entry; all held to each other."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bnfold.errors import ModelFormatError

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR64 = struct.Struct("<4sL2Q")

STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR, IS_UTF8, DEFLATE_LEVEL = 0x8, 0x800, 0x6
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64 = 0x0001
# Zip64 sizes, torch's padding, and the times and owners that other programs note; none changes what an entry is.
_EXTRA_FIELDS = frozenset({_ZIP64, 0x4246, 0x000A, 0x5455, 0x5855, 0x7875})
END_SIZE = _END.size
_MOST_ENTRIES = 200_000


@dataclass(frozen=True)
class Header:
    """What the directory says of an entry."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def directory_of(data: memoryview) -> tuple[int, int, int]:
    """Where the directory starts and ends, and how many entries it has."""
    tail = len(data) - _END.size
    if tail < 0:
        raise damaged("its end is missing")
    mark, disk, start_disk, here, count, size, start, comment = _END.unpack_from(data, tail)
    if mark != b"PK\5\6" or comment:
        raise damaged("its end is missing, or something follows it")
    end = tail
    locator = tail - _LOCATOR64.size
    if locator >= 0 and bytes(data[locator : locator + 4]) == b"PK\6\7":
        end, here, count, size, start = _directory64(data, locator, (here, count, size, start))
    if disk or start_disk or here != count or count > _MOST_ENTRIES:
        raise damaged(f"its end names {count:,} entries on {max(disk, start_disk) + 1} disks")
    if start + size != end:
        raise damaged("something stands between its directory and its end")
    return start, end, count


def _directory64(data: memoryview, locator: int, small: tuple[int, int, int, int]) -> tuple[int, int, int, int, int]:
    """The end record of large archives, which torch writes always: it must say what the small one says."""
    _, disk, place, disks = _LOCATOR64.unpack_from(data, locator)
    if disk or disks != 1 or place != locator - _END64.size:
        raise damaged("its two end records do not follow each other")
    mark, length, _, _, disk, start_disk, here, count, size, start = _END64.unpack_from(data, place)
    if mark != b"PK\6\6" or length != _END64.size - 12 or disk or start_disk:
        raise damaged("its end record of large archives is wrong")
    for value, said, absent in zip(
        (here, count, size, start), small, (0xFFFF, 0xFFFF, _IN_ZIP64, _IN_ZIP64), strict=True
    ):
        if said not in (value, absent):
            raise damaged("its two end records contradict each other")
    return place, here, count, size, start


def central_headers(directory: memoryview, count: int) -> Iterator[Header]:
    """What the directory says of each entry, in its order."""
    place = 0
    for _ in range(count):
        mark, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, _, offset = _CENTRAL.unpack_from(
            directory, place
        )
        name_length, extra_length, comment_length = lengths
        if mark != b"PK\1\2" or disk or comment_length:
            raise damaged("its directory holds something that is no entry")
        place += _CENTRAL.size
        raw_name = bytes(directory[place : place + name_length])
        extra = directory[place + name_length : place + name_length + extra_length]
        place += name_length + extra_length
        if place > len(directory):
            raise damaged("its directory is cut off")
        name = _decoded(raw_name, flags)
        size, packed, offset = _with_zip64(name, extra, (size, packed, offset))
        yield Header(name, raw_name, flags, method, crc, packed, size, offset)
    if place != len(directory):
        raise damaged("something follows its directory")


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & IS_UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise odd_name(repr(raw[:80])) from error


def _with_zip64(name: str, extra: memoryview, values: Sequence[int]) -> list[int]:
    """Size, packed size and offset, those that do not fit into 32 bits taken from the extra field."""
    large = b""
    place = 0
    while place < len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind not in _EXTRA_FIELDS or place + 4 + length > len(extra) or (kind == _ZIP64 and large):
            raise damaged(f"{name!r} has an extra field of the kind {kind:#x}")
        if kind == _ZIP64:
            large = bytes(extra[place + 4 : place + 4 + length])
        place += 4 + length
    found = []
    for value in values:
        if value == _IN_ZIP64:
            value, large = struct.unpack_from("<Q", large)[0], large[8:]
        found.append(value)
    return found


def check_local(data: memoryview, header: Header, place: int) -> int:
    """The length of the header before the data, which must say what the directory says."""
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(data, place)
    length = _LOCAL.size + name_length + extra_length
    raw_name = bytes(data[place + _LOCAL.size : place + _LOCAL.size + name_length])
    extra = data[place + _LOCAL.size + name_length : place + length]
    size, packed = _with_zip64(header.name, extra, (size, packed))
    said = (crc, packed, size)
    known = (header.crc, header.packed, header.size)
    later = bool(flags & HAS_DESCRIPTOR) and said == (0, 0, 0)
    if mark != b"PK\3\4" or (raw_name, flags, method) != (header.raw_name, header.flags, header.method):
        raise damaged(f"the two headers of {header.name!r} contradict each other")
    if said != known and not later:
        raise damaged(f"the two headers of {header.name!r} contradict each other")
    return int(length)


def check_descriptor(data: memoryview, header: Header, place: int) -> int:
    """The length of the note behind the data."""
    known = (b"PK\7\10", header.crc, header.packed, header.size)
    for form in (_DESCRIPTOR, _DESCRIPTOR64):
        if len(data) >= place + form.size and form.unpack_from(data, place) == known:
            return int(form.size)
    raise damaged(f"the note behind {header.name!r} contradicts its header")


def damaged(why: str) -> ModelFormatError:
    """An archive that contradicts itself."""
    return ModelFormatError(f"is a damaged zip archive: {why}")


def odd_name(name: str) -> ModelFormatError:
    """An archive with an entry that torch would not name so."""
    return ModelFormatError(f"is not a file that torch writes: it has an entry called {name}")
