"""Endings of file names. A file's content tells its format; an output may not have the ending of another format."""

from pathlib import Path

from bnfold.api.formats.registry import FORMATS, ONNX, FormatRow
from bnfold.errors import UsageError
from bnfold.keywords import keyword


def check_ending(source: Path, target: Path, written: FormatRow, read: FormatRow) -> None:
    """Refuse a target with the ending of another format than that which is written.

    Where the source has such an ending already, the target may have the same, unless the format changes.

    Args:
        source: the model.
        target: the file to write.
        written: its format.
        read: the format of the source.

    Raises:
        UsageError: the ending is that of another format.
    """
    promised = next((row for row in FORMATS if target.suffix.lower() in row.endings), None)
    if promised is None or promised is written or (target.suffix == source.suffix and written is read):
        return
    way_out = f"call it {target.with_suffix(written.endings[0]).name}"
    if promised is ONNX:
        way_out += f", or give {keyword('to', 'onnx')}"
    raise UsageError(f"{target} is called like {promised.called}, and {written.called} would be written: {way_out}")
