"""See olive."""

import importlib
from types import SimpleNamespace

from olive.model import ONNXModelHandler


def run(run_config, list_required_packages=False, package_config=None, tempdir=None) -> list[ONNXModelHandler]:
    """Runs the passes of a workflow one after the other, each with its defaults where the workflow says nothing."""
    (model,) = [ONNXModelHandler(run_config["input_model"]["model_path"])]
    made = []
    for asked in run_config["passes"].values():
        module, _, name = package_config["passes"][asked["type"].lower()]["module_path"].rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        defaults = {key: option.default_value for key, option in kind._default_config(None).items()}
        options = {**defaults, **asked.get("config", {})}
        config = SimpleNamespace(model_dump=lambda options=options: options)
        made.append(kind(None, config)._run_for_config(model, config, run_config["output_dir"]))
        model = made[-1]
    return made
