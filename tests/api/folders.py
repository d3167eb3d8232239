"""What lies in a folder, byte for byte, and models with their weights in files of their own."""

from pathlib import Path

import onnx


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its bytes; folders with an ending slash."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        entries[f"{name}/" if path.is_dir() else name] = b"" if path.is_dir() else path.read_bytes()
    return entries


def externalize(model: onnx.ModelProto, folder: Path, files: dict[str, str] | str = "weights.bin") -> onnx.ModelProto:
    """Put each initializer's data into a file.

    Args:
        model: its data inside; it is not changed.
        folder: for the files.
        files: name of the file for each initializer, or of one for all; initializers without one stay inside.
    """
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    for tensor in moved.graph.initializer:
        location = files if isinstance(files, str) else files.get(tensor.name)
        if location is None:
            continue
        path = folder / location
        offset = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(tensor.raw_data)
        point_to(tensor, location, offset, len(tensor.raw_data))
    return moved


def point_to(tensor: onnx.TensorProto, location: str, offset: int | None = None, length: int | None = None) -> None:
    """Make a tensor's data external."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
