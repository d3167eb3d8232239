"""What is asked of an ONNX file before anything is done with it, by the folding and by the check alike."""
