"""See olive."""


class OlivePackageConfig:
    """Which passes there are, by their names in lower case."""

    @staticmethod
    def load_default_config() -> "OlivePackageConfig":
        return OlivePackageConfig()

    def model_dump(self, mode="python") -> dict[str, object]:
        return {"passes": {"onnxscriptfusion": {"module_path": "olive.passes.onnx.onnxscript_fusion.OnnxScriptFusion"}}}
