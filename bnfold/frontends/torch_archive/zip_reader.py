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
from bnfold.frontends.torch_archive.zip_headers import (
    DEFLATE_LEVEL,
    DEFLATED,
    END_SIZE,
    HAS_DESCRIPTOR,
    IS_UTF8,
    STORED,
    Header,
    central_headers,
    check_descriptor,
    check_local,
    damaged,
    directory_of,
    odd_name,
)

Buffer = bytes | memoryview

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
            raise damaged(f"the checksum of {self.name!r} is wrong")
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
            if os.fstat(file.fileno()).st_size < END_SIZE:
                raise damaged("its end is missing")
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
        start, end, count = directory_of(data)
        headers = sorted(central_headers(data[start:end], count), key=lambda header: header.offset)
        _check_names([header.name for header in headers])
        _check_sizes(headers)
        return {header.name: entry for header, entry in zip(headers, _entries(data, headers, start), strict=True)}
    except struct.error as error:
        raise damaged("a header is cut off") from error


def _check_names(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not _is_plain(name):
            raise odd_name(repr(name[:80]))
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


def _check_sizes(headers: Sequence[Header]) -> None:
    inflated = 0
    for header in headers:
        if header.flags & ~(HAS_DESCRIPTOR | IS_UTF8 | DEFLATE_LEVEL):
            raise damaged(f"{header.name!r} is encrypted, or packed in a way that torch does not write")
        if header.method == STORED:
            if header.size != header.packed:
                raise damaged(f"{header.name!r} is stored as it is, but in two sizes")
        elif header.method == DEFLATED:
            inflated += header.size
            if header.size > _MOST_RATIO * header.packed + _RATIO_STARTS_AT:
                raise ModelFormatError(
                    f"holds {header.name!r}, whose {header.packed:,} bytes unpack to {header.size:,}: more than "
                    f"{_MOST_RATIO} to 1 is not unpacked"
                )
        else:
            raise damaged(f"{header.name!r} is packed by method {header.method}, which torch does not read")
    if inflated > _MOST_INFLATED:
        raise ModelFormatError(f"unpacks to {inflated:,} bytes; of compressed parts, {_MOST_INFLATED:,} are read")


def _entries(data: memoryview, headers: Sequence[Header], end: int) -> Iterator[Entry]:
    """The entries, each of which must begin where the one before ends, and the last end where the directory starts."""
    place = 0
    for header in headers:
        if header.offset != place:
            raise damaged(f"something stands before {header.name!r}")
        start = place + check_local(data, header, place)
        place = start + header.packed
        if place > end:
            raise damaged(f"{header.name!r} reaches into its directory")
        if header.flags & HAS_DESCRIPTOR:
            place += check_descriptor(data, header, place)
        yield Entry(
            header.name, header.size, data[start : start + header.packed], header.method == DEFLATED, header.crc
        )
    if place != end:
        raise damaged("something stands before its directory")


def _inflate(entry: Entry) -> bytes:
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = reader.decompress(entry._raw, entry.size + 1)
    except zlib.error as error:
        raise damaged(f"{entry.name!r} cannot be unpacked") from error
    if len(content) != entry.size or not reader.eof or reader.unused_data:
        raise damaged(f"{entry.name!r} does not unpack to the {entry.size:,} bytes that its header names")
    return content
