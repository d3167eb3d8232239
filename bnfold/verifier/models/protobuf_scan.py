"""A serialised model whose large weights are external data in the very same file: nothing is copied."""

from typing import TYPE_CHECKING

from bnfold.intake import protobuf_scan

if TYPE_CHECKING:
    from onnx import TensorProto

    from bnfold.intake.protobuf_fields import Buffer


def without_weights(data: "Buffer", location: str) -> bytes:
    """The same model, whose large initializers say where in the file their data lies, as ONNX's external data does.

    Args:
        data: a serialised ModelProto.
        location: the name of the file that it lies in.

    Raises:
        ValueError, DecodeError: it is none.
    """

    def mark(tensor: "TensorProto", begin: int, size: int) -> None:
        tensor.data_location = tensor.EXTERNAL
        for key, value in (("location", location), ("offset", str(begin)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)

    return protobuf_scan.without_weights(data, mark)
