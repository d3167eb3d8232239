"""What the name of a file promises. The content of a file tells its format, but nobody may be misled by its name."""

from pathlib import Path

from bnfold.errors import UsageError
from bnfold.frontends.kind import Kind

_KINDS: dict[str, Kind] = {
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".pth": "torchscript",
    ".ts": "torchscript",
    ".pt2": "torch_export",
}
_CALLED: dict[Kind, str] = {"onnx": "ONNX", "torchscript": "TorchScript", "torch_export": "a program of torch.export"}
_USUAL: dict[Kind, str] = {"onnx": ".onnx", "torchscript": ".pt", "torch_export": ".pt2"}


def check_ending(source: Path, target: Path, written: Kind, read: Kind) -> None:
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
    promised = _KINDS.get(target.suffix.lower())
    if promised in (None, written) or (target.suffix == source.suffix and written == read):
        return
    way_out = f"call it {target.with_suffix(_USUAL[written]).name}"
    if promised == "onnx":
        way_out += ", or give --to onnx"
    raise UsageError(f"{target} is called like {_CALLED[promised]}, and {_CALLED[written]} would be written: {way_out}")
