"""Element types of ONNX by their number."""

FLOAT, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 9, 10, 11, 16  # TensorProto.DataType
