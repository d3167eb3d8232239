"""JSON of a size that can be told beforehand: a text of 1 MB can be a tree of half a million lists."""

import json
from typing import Any

from bnfold.errors import ModelFormatError
from bnfold.frontends.torch_archive.zip_reader import Buffer

# Networks of a thousand layers stay below a million parts and 50 MB, most of it stack traces.
_MOST_BYTES = 2**27
_MOST_PARTS = 3_000_000
_DEEPEST = 150
_WIDEST_INTEGER = 2**64


def read_json(name: str, data: Buffer, *, most_parts: int = _MOST_PARTS) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON.

    Args:
        name: of its entry, for the message.
        data: the text in UTF-8.
        most_parts: how many values it may hold, texts that look like several counted as several.

    Raises:
        ModelFormatError: it is none, or larger, wider or deeper than any that torch writes.
    """
    text = bytes(data)
    if len(text) > _MOST_BYTES:
        raise ModelFormatError(f"holds {name!r} of {len(text):,} bytes; of JSON, {_MOST_BYTES:,} are read")
    parts = sum(text.count(mark) for mark in (b"[", b"{", b","))
    if parts > most_parts:
        raise ModelFormatError(f"holds {name!r} with {parts:,} values; of JSON, {most_parts:,} are read")
    try:
        tree = json.loads(text.decode())
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        raise ModelFormatError(f"holds {name!r}, which is not JSON that torch writes") from error
    _check(name, tree)
    return tree


def _check(name: str, tree: object) -> None:
    level: list[object] = [tree]
    for _ in range(_DEEPEST):
        level = [part for node in level for part in _parts(name, node)]
        if not level:
            return
    raise ModelFormatError(f"holds {name!r}, nested deeper than {_DEEPEST} levels")


def _parts(name: str, node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    if isinstance(node, int) and abs(node) > _WIDEST_INTEGER:
        raise ModelFormatError(f"holds {name!r} with an integer of more than 64 bits")
    return node if isinstance(node, list) else []
