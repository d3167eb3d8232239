"""See olive."""

from pathlib import Path


class ONNXModelHandler:
    """A model: a file, or a folder and the name of a file in it."""

    def __init__(
        self,
        model_path=None,
        onnx_file_name=None,
        inference_settings=None,
        use_ort_extensions=False,
        external_initializers_file_name=None,
        constant_inputs_file_name=None,
        model_attributes=None,
    ) -> None:
        self.model_path = str(Path(model_path) / onnx_file_name) if onnx_file_name else model_path
