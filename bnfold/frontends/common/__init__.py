"""What ONNX and aten spell differently but mean alike, one subject each, on values that know no file format."""
