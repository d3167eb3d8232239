"""Zips as no library writes them: every header can lie."""

import struct
import zlib
from dataclasses import dataclass

ALL = 0xFFFFFFFF


@dataclass
class Raw:
    """One entry; what is None is as it should be."""

    name: str
    data: bytes
    local_name: str | None = None
    local_size: int | None = None
    local_crc: int | None = None
    crc: int | None = None
    size: int | None = None
    method: int = 0
    flags: int = 0x800
    offset: int | None = None
    extra: bytes = b""
    deflate: bool = False


def packed(entry):
    """Its bytes as they are stored, and the method."""
    if not entry.deflate:
        return entry.data, entry.method
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(entry.data) + packer.flush(), 8


def local(entry):
    """The header before the data, and the data."""
    data, method = packed(entry)
    name = (entry.name if entry.local_name is None else entry.local_name).encode()
    crc = zlib.crc32(entry.data) if entry.local_crc is None else entry.local_crc
    size = len(entry.data) if entry.local_size is None else entry.local_size
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, entry.flags, method, 0, 0, crc, len(data), size, len(name), 0)
    return head + name + data


def central(entry, place):
    """The header in the directory."""
    data, method = packed(entry)
    name = entry.name.encode()
    crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
    size = len(entry.data) if entry.size is None else entry.size
    place = place if entry.offset is None else entry.offset
    numbers = (20, 20, entry.flags, method, 0, 0, crc, len(data), size, len(name), len(entry.extra), 0, 0, 0, 0, place)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers) + name + entry.extra


def body(entries, start=0):
    """Local entries and their directory, as if they began at a place; where the directory begins, and its length."""
    data, directory = b"", b""
    for entry in entries:
        directory += central(entry, start + len(data))
        data += local(entry)
    return data + directory, start + len(data), len(directory)


def end(count, size, start, comment=b""):
    """The end record."""
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, len(comment)) + comment


def end64(count, size, start):
    """The end record of large archives."""
    return struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)


def locator(place):
    """Where that record is."""
    return struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


def archive(entries, comment=b""):
    """A zip of these entries; dicts of names and bytes are as they should be."""
    entries = [Raw(name, data) for name, data in entries.items()] if isinstance(entries, dict) else entries
    data, start, size = body(entries)
    return data + end(len(entries), size, start, comment)


def two_in_one(shown, loaded):
    """Readers that trust the locator see one archive, those that look before it another."""
    shown, loaded = ([Raw(name, data) for name, data in entries.items()] for entries in (shown, loaded))
    first, start, size = body(loaded)
    first += end64(len(loaded), size, start)
    second, start2, size2 = body(shown, len(first))
    whole = first + second + end64(len(shown), size2, start2)
    return whole + locator(start + size) + end(0xFFFF, ALL, ALL)
