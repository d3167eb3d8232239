"""A zip read strictly: one archive, no byte unaccounted for, no entry that could be read in two ways.

Zip readers disagree about files that are no plain zips: some look for the directory from the end, some from the start;
some trust the headers before the data, some those in the directory; some ignore the case of names. What one of them
checks is then not what another one loads. So only the plain case is accepted: the local entries follow each other from
the first byte on, the directory follows the last of them, the end record is the end of the file, and both headers of
an entry say the same. The format: PKWARE's APPNOTE.TXT 6.3.10.
"""

import mmap
import os
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bnfold.errors import ModelFormatError

Buffer = bytes | memoryview

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR64 = struct.Struct("<4sL2Q")

_STORED, _DEFLATED = 0, 8
_HAS_DESCRIPTOR, _IS_UTF8, _DEFLATE_LEVEL = 0x8, 0x800, 0x6
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64 = 0x0001
# Zip64 sizes, torch's padding, and the times and owners that other programs note; none changes what an entry is.
_EXTRA_FIELDS = frozenset({_ZIP64, 0x4246, 0x000A, 0x5455, 0x5855, 0x7875})

_MOST_ENTRIES = 200_000
_LONGEST_NAME = 2_000
# Text deflates to a tenth or a thirtieth. Deflate can reach 1032:1, which only repetitions do.
_MOST_RATIO, _RATIO_STARTS_AT = 100, 2**16
_MOST_INFLATED = 2**28


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        name: as the archive spells it.
        size: of its content, in bytes.
    """

    name: str
    size: int
    _raw: memoryview
    _deflated: bool
    _crc: int

    def content(self) -> Buffer:
        """What it holds: a view on the file where it is stored as it is.

        Raises:
            ModelFormatError: it is not what its checksum says.
        """
        content = _inflate(self) if self._deflated else self._raw
        if zlib.crc32(content) != self._crc:
            raise _damaged(f"the checksum of {self.name!r} is wrong")
        return content


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, Entry]]:
    """The entries of a zip file by name, in the order of the file. Its bytes are mapped, not read.

    Raises:
        ModelFormatError: it cannot be read, or is not exactly one plain archive.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFormatError("is not a regular file")
            if os.fstat(file.fileno()).st_size < _END.size:
                raise _damaged("its end is missing")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    try:
        yield read_zip(memoryview(mapped))
    finally:
        with suppress(BufferError):  # someone still looks at it; it is closed with the last view
            mapped.close()


def read_zip(data: Buffer) -> dict[str, Entry]:
    """The entries of an archive by name, in the order of the file.

    Args:
        data: all bytes of it.

    Raises:
        ModelFormatError: it is not exactly one plain archive.
    """
    data = memoryview(data)
    try:
        start, end, count = _directory(data)
        headers = sorted(_central_headers(data[start:end], count), key=lambda header: header.offset)
        _check_names([header.name for header in headers])
        _check_sizes(headers)
        return {header.name: entry for header, entry in zip(headers, _entries(data, headers, start), strict=True)}
    except struct.error as error:
        raise _damaged("a header is cut off") from error


@dataclass(frozen=True)
class _Header:
    """What the directory says of an entry."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Where the directory starts and ends, and how many entries it has."""
    tail = len(data) - _END.size
    if tail < 0:
        raise _damaged("its end is missing")
    mark, disk, start_disk, here, count, size, start, comment = _END.unpack_from(data, tail)
    if mark != b"PK\5\6" or comment:
        raise _damaged("its end is missing, or something follows it")
    end = tail
    locator = tail - _LOCATOR64.size
    if locator >= 0 and bytes(data[locator : locator + 4]) == b"PK\6\7":
        end, here, count, size, start = _directory64(data, locator, (here, count, size, start))
    if disk or start_disk or here != count or count > _MOST_ENTRIES:
        raise _damaged(f"its end names {count:,} entries on {max(disk, start_disk) + 1} disks")
    if start + size != end:
        raise _damaged("something stands between its directory and its end")
    return start, end, count


def _directory64(data: memoryview, locator: int, small: tuple[int, int, int, int]) -> tuple[int, int, int, int, int]:
    """The end record of large archives, which torch writes always: it must say what the small one says."""
    _, disk, place, disks = _LOCATOR64.unpack_from(data, locator)
    if disk or disks != 1 or place != locator - _END64.size:
        raise _damaged("its two end records do not follow each other")
    mark, length, _, _, disk, start_disk, here, count, size, start = _END64.unpack_from(data, place)
    if mark != b"PK\6\6" or length != _END64.size - 12 or disk or start_disk:
        raise _damaged("its end record of large archives is wrong")
    for value, said, absent in zip(
        (here, count, size, start), small, (0xFFFF, 0xFFFF, _IN_ZIP64, _IN_ZIP64), strict=True
    ):
        if said not in (value, absent):
            raise _damaged("its two end records contradict each other")
    return place, here, count, size, start


def _central_headers(directory: memoryview, count: int) -> Iterator[_Header]:
    place = 0
    for _ in range(count):
        mark, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, _, offset = _CENTRAL.unpack_from(
            directory, place
        )
        name_length, extra_length, comment_length = lengths
        if mark != b"PK\1\2" or disk or comment_length:
            raise _damaged("its directory holds something that is no entry")
        place += _CENTRAL.size
        raw_name = bytes(directory[place : place + name_length])
        extra = directory[place + name_length : place + name_length + extra_length]
        place += name_length + extra_length
        if place > len(directory):
            raise _damaged("its directory is cut off")
        name = _decoded(raw_name, flags)
        size, packed, offset = _with_zip64(name, extra, (size, packed, offset))
        yield _Header(name, raw_name, flags, method, crc, packed, size, offset)
    if place != len(directory):
        raise _damaged("something follows its directory")


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _IS_UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise _odd_name(repr(raw[:80])) from error


def _with_zip64(name: str, extra: memoryview, values: Sequence[int]) -> list[int]:
    """Size, packed size and offset, those that do not fit into 32 bits taken from the extra field."""
    large = b""
    place = 0
    while place < len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind not in _EXTRA_FIELDS or place + 4 + length > len(extra) or (kind == _ZIP64 and large):
            raise _damaged(f"{name!r} has an extra field of the kind {kind:#x}")
        if kind == _ZIP64:
            large = bytes(extra[place + 4 : place + 4 + length])
        place += 4 + length
    found = []
    for value in values:
        if value == _IN_ZIP64:
            value, large = struct.unpack_from("<Q", large)[0], large[8:]
        found.append(value)
    return found


def _check_names(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not _is_plain(name):
            raise _odd_name(repr(name[:80]))
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            twin = seen[folded]
            what = f"{name[:80]!r} twice" if twin == name else f"{twin[:80]!r} beside {name[:80]!r}"
            raise ModelFormatError(f"is not a file that torch writes: it holds {what}")
        seen[folded] = name


def _is_plain(name: str) -> bool:
    """Whether every reader takes it for the same relative path."""
    return (
        len(name) <= _LONGEST_NAME
        and name.isprintable()
        and "\\" not in name
        and not any(part in ("", ".", "..") for part in name.split("/"))
    )


def _check_sizes(headers: Sequence[_Header]) -> None:
    inflated = 0
    for header in headers:
        if header.flags & ~(_HAS_DESCRIPTOR | _IS_UTF8 | _DEFLATE_LEVEL):
            raise _damaged(f"{header.name!r} is encrypted, or packed in a way that torch does not write")
        if header.method == _STORED:
            if header.size != header.packed:
                raise _damaged(f"{header.name!r} is stored as it is, but in two sizes")
        elif header.method == _DEFLATED:
            inflated += header.size
            if header.size > _MOST_RATIO * header.packed + _RATIO_STARTS_AT:
                raise ModelFormatError(
                    f"holds {header.name!r}, whose {header.packed:,} bytes unpack to {header.size:,}: more than "
                    f"{_MOST_RATIO} to 1 is not unpacked"
                )
        else:
            raise _damaged(f"{header.name!r} is packed by method {header.method}, which torch does not read")
    if inflated > _MOST_INFLATED:
        raise ModelFormatError(f"unpacks to {inflated:,} bytes; of compressed parts, {_MOST_INFLATED:,} are read")


def _entries(data: memoryview, headers: Sequence[_Header], end: int) -> Iterator[Entry]:
    """The entries, each of which must begin where the one before ends, and the last end where the directory starts."""
    place = 0
    for header in headers:
        if header.offset != place:
            raise _damaged(f"something stands before {header.name!r}")
        start = place + _check_local(data, header, place)
        place = start + header.packed
        if place > end:
            raise _damaged(f"{header.name!r} reaches into its directory")
        if header.flags & _HAS_DESCRIPTOR:
            place += _check_descriptor(data, header, place)
        yield Entry(
            header.name, header.size, data[start : start + header.packed], header.method == _DEFLATED, header.crc
        )
    if place != end:
        raise _damaged("something stands before its directory")


def _check_local(data: memoryview, header: _Header, place: int) -> int:
    """The length of the header before the data, which must say what the directory says."""
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(data, place)
    length = _LOCAL.size + name_length + extra_length
    raw_name = bytes(data[place + _LOCAL.size : place + _LOCAL.size + name_length])
    extra = data[place + _LOCAL.size + name_length : place + length]
    size, packed = _with_zip64(header.name, extra, (size, packed))
    said = (crc, packed, size)
    known = (header.crc, header.packed, header.size)
    later = bool(flags & _HAS_DESCRIPTOR) and said == (0, 0, 0)
    if mark != b"PK\3\4" or (raw_name, flags, method) != (header.raw_name, header.flags, header.method):
        raise _damaged(f"the two headers of {header.name!r} contradict each other")
    if said != known and not later:
        raise _damaged(f"the two headers of {header.name!r} contradict each other")
    return int(length)


def _check_descriptor(data: memoryview, header: _Header, place: int) -> int:
    """The length of the note behind the data."""
    known = (b"PK\7\10", header.crc, header.packed, header.size)
    for form in (_DESCRIPTOR, _DESCRIPTOR64):
        if len(data) >= place + form.size and form.unpack_from(data, place) == known:
            return int(form.size)
    raise _damaged(f"the note behind {header.name!r} contradicts its header")


def _inflate(entry: Entry) -> bytes:
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = reader.decompress(entry._raw, entry.size + 1)
    except zlib.error as error:
        raise _damaged(f"{entry.name!r} cannot be unpacked") from error
    if len(content) != entry.size or not reader.eof or reader.unused_data:
        raise _damaged(f"{entry.name!r} does not unpack to the {entry.size:,} bytes that its header names")
    return content


def _damaged(why: str) -> ModelFormatError:
    return ModelFormatError(f"is a damaged zip archive: {why}")


def _odd_name(name: str) -> ModelFormatError:
    return ModelFormatError(f"is not a file that torch writes: it has an entry called {name}")
