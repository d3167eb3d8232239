"""A pass for Olive. Importing this module imports olive, which bnfold itself does not need."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from olive.model import ONNXModelHandler
from olive.model.utils import resolve_onnx_path
from olive.package_config import OlivePackageConfig
from olive.passes import Pass
from olive.passes.pass_config import PassConfigParam

from bnfold.api import fold_file

if TYPE_CHECKING:
    from olive.hardware.accelerator import AcceleratorSpec
    from olive.passes.pass_config import BasePassConfig

_CHOICES = {
    "affine": "Fold Mul, Add, Sub and Div by constants too, not BatchNorms alone.",
    "merge_branches": "Merge parallel branches that are linear in one tensor into one operator.",
    "across": "Fold BatchNorms across tensors that others read, which take the inverse.",
    "verify": "Compare the folded model with the original, and fail where they differ.",
}


def package_config() -> dict[str, Any]:
    """Olive's own passes and `FoldBatchNorm`, as `olive.workflows.run` takes them for its argument package_config."""
    found: dict[str, Any] = OlivePackageConfig.load_default_config().model_dump(mode="json")
    everywhere = {f"supported_{what}": ["*"] for what in ("providers", "accelerators", "precisions")}
    found["passes"]["foldbatchnorm"] = {"module_path": f"{__name__}.FoldBatchNorm", **everywhere}
    return found


class FoldBatchNorm(Pass):
    """Folds every BatchNorm that can be folded. A workflow names it "FoldBatchNorm", with `package_config`."""

    @classmethod
    def _default_config(cls, accelerator_spec: "AcceleratorSpec") -> dict[str, PassConfigParam]:  # noqa: ARG003
        choices = {
            name: PassConfigParam(type_=bool, default_value=True, description=text) for name, text in _CHOICES.items()
        }
        exclude = PassConfigParam(
            type_=list[str], default_value=[], description="Glob patterns of nodes to leave alone."
        )
        return {**choices, "exclude": exclude}

    def _run_for_config(
        self, model: ONNXModelHandler, config: "BasePassConfig", output_model_path: str
    ) -> ONNXModelHandler:
        """Fold one model.

        Raises:
            bnfold.BnfoldError: as `bnfold.fold_file`.
        """
        asked: dict[str, Any] = config.model_dump()
        target = Path(resolve_onnx_path(output_model_path, Path(model.model_path).name))
        target.parent.mkdir(parents=True, exist_ok=True)
        fold_file(model.model_path, target, exclude=asked["exclude"], **{name: asked[name] for name in _CHOICES})
        has_data = any(path != target for path in target.parent.glob(f"{target.name}*"))
        if has_data:
            return ONNXModelHandler(model_path=str(target.parent), onnx_file_name=target.name)
        return ONNXModelHandler(model_path=str(target))
