"""What the name of a file promises. The content of a file tells its format, but nobody may be misled by its name."""

from pathlib import Path

from bnfold.api.formats.registry import FORMATS, ONNX, FormatRow
from bnfold.errors import UsageError
from bnfold.keywords import keyword


def check_ending(source: Path, target: Path, written: FormatRow, read: FormatRow) -> None:
    """Refuse a target whose name promises another format than that which is written.

    The name of the source may mislead already: its ending is right for the target, unless the format changes.

    Args:
        source: the model.
        target: the file to write.
        written: its format.
        read: the format of the source.

    Raises:
        UsageError: it would mislead.
    """
    promised = next((row for row in FORMATS if target.suffix.lower() in row.endings), None)
    if promised is None or promised is written or (target.suffix == source.suffix and written is read):
        return
    way_out = f"call it {target.with_suffix(written.endings[0]).name}"
    if promised is ONNX:
        way_out += f", or give {keyword('to', 'onnx')}"
    raise UsageError(f"{target} is called like {promised.called}, and {written.called} would be written: {way_out}")
