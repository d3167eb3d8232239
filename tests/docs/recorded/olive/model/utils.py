"""See olive."""

from pathlib import Path


def resolve_onnx_path(file_or_dir_path, model_filename="model.onnx") -> str:
    """A file in a folder, which is made if need be, unless the path is that of a model."""
    path = Path(file_or_dir_path)
    if path.suffix != ".onnx":
        path.mkdir(parents=True, exist_ok=True)
        path = path / model_filename
    return str(path)
