"""The archive that torch is given: a plain zip without compression, laid out here from parts that were checked.

It is never written where its parts are in memory or in a mapped file already: torch reads from it as from a file.
"""

import bisect
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import IO

from bnfold.frontends.torch_archive.zip_reader import Buffer

_ALIGNMENT = 64  # torch maps tensors from where they lie
_FITS = 0xFFFFFFFF
_VERSION, _VERSION64 = 20, 45
_PADDING = 0x4246
_IS_UTF8 = 0x800


class CleanArchive(io.RawIOBase):
    """A zip to read from.

    Args:
        parts: the content of each entry by its name, in order; buffers of bytes, which are not copied.
    """

    def __init__(self, parts: Mapping[str, Buffer]) -> None:
        super().__init__()
        self._pieces = [piece for piece in _pieces(parts) if len(piece)]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))
        self._place = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self._ends[-1]

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, target: object) -> int:
        """Fill a buffer, up to the end of the archive."""
        view = memoryview(target).cast("B")  # type: ignore[arg-type] # typeshed knows the protocol from 3.12 on
        filled = 0
        index = bisect.bisect_right(self._ends, self._place)
        while filled < len(view) and index < len(self._pieces):
            piece = self._pieces[index]
            start = self._place - (self._ends[index] - len(piece))
            count = min(len(piece) - start, len(view) - filled)
            view[filled : filled + count] = piece[start : start + count]
            filled += count
            self._place += count
            index += 1
        return filled

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all of it."""
        for piece in self._pieces:
            file.write(piece)


def _pieces(parts: Mapping[str, Buffer]) -> Iterator[memoryview]:
    place = 0
    central = []
    for name, content in parts.items():
        view = memoryview(content).cast("B")
        raw_name = name.encode()
        crc = zlib.crc32(view)
        local = _local(raw_name, crc, len(view), place)
        central.append(_central(raw_name, crc, len(view), place))
        place += len(local) + len(view)
        yield memoryview(local)
        yield view
    directory = b"".join(central)
    yield memoryview(directory + _end(len(central), len(directory), place))


def _local(name: bytes, crc: int, size: int, place: int) -> bytes:
    large = struct.pack("<2H2Q", 1, 16, size, size) if size >= _FITS else b""
    stated = min(size, _FITS)
    unpadded = place + 30 + len(name) + len(large) + 4
    padding = -unpadded % _ALIGNMENT
    extra = large + struct.pack("<2H", _PADDING, padding) + b"Z" * padding
    version = _VERSION64 if large else _VERSION
    head = struct.pack("<4s5H3L2H", b"PK\3\4", version, _IS_UTF8, 0, 0, 0, crc, stated, stated, len(name), len(extra))
    return head + name + extra


def _central(name: bytes, crc: int, size: int, place: int) -> bytes:
    values = [(value, min(value, _FITS)) for value in (size, size, place)]
    large = b"".join(struct.pack("<Q", value) for value, stated in values if stated == _FITS)
    extra = struct.pack("<2H", 1, len(large)) + large if large else b""
    version = _VERSION64 if large else _VERSION
    head = struct.pack(
        "<4s6H3L5H2L",
        b"PK\1\2",
        version,
        version,
        _IS_UTF8,
        0,
        0,
        0,
        crc,
        values[0][1],
        values[1][1],
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        values[2][1],
    )
    return head + name + extra


def _end(count: int, size: int, start: int) -> bytes:
    """Both end records, as torch writes them."""
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, _VERSION64, _VERSION64, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
    few = min(count, 0xFFFF)
    return large + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, min(size, _FITS), min(start, _FITS), 0)
