"""ONNX, on the protobuf itself: whatever is not folded keeps its bytes."""
