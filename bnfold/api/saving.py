"""A model in memory becomes a file, in one step."""

from pathlib import Path

from bnfold.api.endings import check_ending
from bnfold.api.formats.registry import format_of_object, is_onnx_ir
from bnfold.api.places import check_target
from bnfold.errors import UsageError
from bnfold.writing.destination import destination_of
from bnfold.writing.publishing import publish_files
from bnfold.writing.staging import staging_folder


def save_model(model: object, path: str, source: str, *, in_place: bool) -> None:
    """Write a model of any kind that `bnfold.fold` gives back.

    Args:
        model: the model.
        path: the file to write.
        source: the file that was folded, or another name where there is none.
        in_place: whether both may be one.

    Raises:
        UsageError: see `FoldResult.save`.
    """
    if is_onnx_ir(model):
        from bnfold.api.formats.onnx_ir_protobuf import as_protobuf

        model = as_protobuf(model)
    row = format_of_object(model)
    destination = destination_of(Path(path))
    check_ending(Path(source), Path(path), row, row)
    check_target(Path(source), [], destination, in_place=in_place and Path(source).exists())
    with staging_folder(destination) as folder:
        files = row.format().write(model, folder, destination.path)
        if destination.is_stream and len(files) > 1:
            raise UsageError(f"{path} takes one file, and the model needs its data beside it: give the name of a file")
        publish_files(files, destination)
