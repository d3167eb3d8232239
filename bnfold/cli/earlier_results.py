"""Results of earlier calls among the models of this one, which a pattern such as *.onnx brings in."""

from collections.abc import Sequence
from pathlib import Path

from bnfold.cli.targets import folded_beside, identity


def without_own_results(models: Sequence[Path], suffix: str = "") -> tuple[list[Path], dict[Path, Path]]:
    """Take the results of earlier calls out of a list of models, as `*.onnx` gives it the second time.

    Args:
        models: paths.
        suffix: as for `plan_jobs`.

    Returns:
        The models but for those whose name is that of the result of another one in the list; and of each that is left
        out, that other one.
    """
    made = {identity(folded_beside(model, ending)): model for ending in dict.fromkeys(("", suffix)) for model in models}
    skipped = {}
    for model in models:
        source = made.get(identity(model))
        if source is not None and identity(source) != identity(model):
            skipped[model] = source
    return [model for model in models if model not in skipped], skipped
