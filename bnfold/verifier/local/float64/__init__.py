"""ONNX operators in float64: the same functions as in any other precision, without the rounding."""
