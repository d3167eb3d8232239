"""Models of onnx_ir as protobufs. Importing this module imports onnx_ir, which bnfold itself does not need."""

import onnx
import onnx_ir

from bnfold.errors import UsageError


def as_protobuf(model: object) -> onnx.ModelProto:
    """A model of onnx_ir as a protobuf, with all data inside.

    Raises:
        UsageError: it is of another class.
    """
    if not isinstance(model, onnx_ir.Model):
        raise UsageError(f"cannot write a {type(model).__name__}: expected an onnx_ir.Model")
    return onnx_ir.to_proto(onnx_ir.external_data.load_to_model(model.clone()))
